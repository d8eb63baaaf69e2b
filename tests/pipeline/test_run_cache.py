"""Both models, and what was computed once is restored: here, in a queue, in a clone that pulls, and without dvc.lock."""

import re
import shutil
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

import pytest

from musicgen_lite.scoring.metrics import HEADLINE
from tests.support.project import Project, stages_run

pytestmark = [pytest.mark.pipeline, pytest.mark.long, pytest.mark.timeout(1800)]

RESTORED = ["check", "track"]
LATER = ["train", "sample", "score_nll", "score_audio", "report", "track"]


@dataclass(frozen=True)
class Both:
    """The project with runs of both models; model B's results are those of the experiment `model-b` alone.

    `ran`: the stages of that experiment; `before`: the runs of the project before it, `after` with it; `columns` of B's metrics.
    """

    ran: list[str]
    before: list[tuple[str, str]]
    after: list[tuple[str, str]]
    columns: Set[str]


@pytest.fixture(scope="module")
def both(project: Project) -> Both:
    project.run("dvc", "repro")
    before = project.runs()
    ran = project.stages_of("dvc", "exp", "run", "-S", "model.type=b", "-n", "model-b")
    made = Both(ran, before, project.runs(), project.columns())
    project.reset()
    return made


@pytest.fixture(scope="module")
def remote(project: Project, both: Both, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to which the project pushed the results of both models."""
    folder = tmp_path_factory.mktemp("remote")
    project.run("dvc", "remote", "add", "-q", "-d", "store", str(folder))
    project.commit()
    assert "results of stages" in project.run("musicgen-lite", "push").stdout
    return folder


@pytest.fixture
def clone(project: Project, remote: Path, tmp_path: Path) -> Project:
    """A fresh clone that pulled."""
    project.run("git", "clone", "-q", str(project.folder), str(tmp_path / "clone"))
    made = Project(tmp_path / "clone")
    made.run("musicgen-lite", "pull")
    return made


def test_the_other_model_runs_only_what_depends_on_it(both: Both) -> None:
    assert both.ran == ["check", *LATER]
    assert len(both.before) == 1
    assert both.after == [*both.before, ("model-b", "FINISHED")]
    # Few captions of the tiny setting state a tempo.
    assert HEADLINE - {"tempo"} <= both.columns <= HEADLINE


def test_both_models_are_compared_with_every_figure_known_and_every_sound(project: Project, both: Both) -> None:
    output = project.run("musicgen-lite", "compare").stdout
    shown = {line.split()[0] for line in output.splitlines() if line.strip()}
    assert shown >= HEADLINE - {"tempo"} | {
        "nll_q4",
        "clap_n1",
        "silent",
        "kad_mel_prompted",
        "fad_codec_recon",
        "prompt_sim",
    }
    assert "Other metrics" not in output
    page = (project.folder / "compare.html").read_text()
    # What two runs made of three fixed prompts; then of four test prompts, B's with the audio prompt too, and real clip,
    # reconstruction and audio prompt, which both rows hold in equal bytes.
    assert page.count("data:audio/mpeg;base64,") == 3 * 2 + 4 * (3 + 3)


def test_back_to_a_model_that_was_seen_everything_is_restored(project: Project, both: Both) -> None:
    """From A to B, from B to A, and to B again, with its outputs gone."""
    scores = project.metrics()
    assert project.stages_of("dvc", "exp", "run", "-S", "model.type=b") == RESTORED
    other = project.metrics()
    assert other != scores
    assert project.stages_of("dvc", "exp", "run", "-S", "model.type=a") == RESTORED
    assert project.metrics() == scores
    project.set(model__type="b")
    for folder in ("data", "metrics"):
        shutil.rmtree(project.folder / folder)
    assert project.stages_of("dvc", "repro") == RESTORED
    assert project.metrics() == other
    assert project.runs() == both.after
    project.reset()


def test_a_clone_that_pulled_computes_neither_model_again(clone: Project, project: Project) -> None:
    assert clone.stages_of("dvc", "repro") == RESTORED
    assert clone.stages_of("dvc", "exp", "run", "-S", "model.type=b", "-n", "model-b") == RESTORED
    assert clone.stages_of("dvc", "exp", "run", "-S", "model.type=a") == RESTORED
    # Both runs are replayed from files.
    assert sorted(clone.runs()) == sorted(project.runs())


def test_a_clone_without_dvc_lock_restores_as_much(clone: Project) -> None:
    (clone.folder / "dvc.lock").unlink()
    assert clone.stages_of("dvc", "repro") == RESTORED
    clone.run("git", "checkout", "-q", "dvc.lock")
    (clone.folder / "dvc.lock").unlink()
    assert clone.stages_of("dvc", "exp", "run", "-S", "model.type=b") == RESTORED


def test_dvc_alone_restores_what_dvc_lock_names(project: Project, remote: Path, tmp_path: Path) -> None:
    project.run("git", "clone", "-q", str(project.folder), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    clone.run("dvc", "pull", "--run-cache")
    assert clone.stages_of("dvc", "repro") == RESTORED


def test_a_queue_of_what_was_seen_runs_nothing_again(project: Project, both: Both) -> None:
    queued = project.run("dvc", "exp", "run", "--queue", "-S", "model.type=a,b").stdout
    names = re.findall(r"Queued experiment '([\w-]+)'", queued)
    assert len(names) == 2, queued
    project.run("dvc", "exp", "run", "--run-all", "-j", "2")
    for name in names:
        assert stages_run(project.run("dvc", "queue", "logs", name).stdout) == RESTORED
    assert project.runs() == both.after


def test_a_remote_that_is_gone_is_named_and_nothing_is_lost(project: Project, tmp_path: Path) -> None:
    project.run("dvc", "remote", "add", "-q", "gone", str(tmp_path / "gone"))
    project.run("git", "clone", "-q", str(project.folder), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    for command, words in ((["pull", "-r", "nowhere"], "nowhere"), (["push", "-r", "nowhere"], "nowhere")):
        done = clone.run("musicgen-lite", *command, check=False)
        assert done.returncode == 2
        assert words in done.stdout
        assert "Traceback" not in done.stdout
