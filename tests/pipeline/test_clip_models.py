"""The real pipeline with PaSST and audiobox-aesthetics of their published sizes, by their packages, with random weights."""

import json
import sqlite3
from pathlib import Path

import pytest

from musicgen_lite.scoring.metrics import AXES
from tests.support.project import Project

tiny = pytest.importorskip(
    "tests.support.clip_models_tiny", reason="the extras passt and aesthetics bring the packages"
)

pytestmark = [pytest.mark.pipeline, pytest.mark.long, pytest.mark.timeout(1800)]
RATINGS = {f"aesthetics_{axis.lower()}" for axis in AXES}
DIVERGENCES = {"kl_passt", "kl_passt_reversed"}
PROMPTS = 2  # each clip takes five seconds


@pytest.fixture(autouse=True, scope="module")
def named(project: Project) -> None:
    """The tiny project's parameters name both."""
    cache = project.folder / "cache"
    cache.mkdir(exist_ok=True)
    digest = tiny.save_passt(cache / "passt.pt")
    tiny.save_published_aesthetics(cache / "aesthetics")
    models = {"score__passt": "cache/passt.pt", "score__aesthetics": "cache/aesthetics"}
    project.set(**models, trusted_pickles=[digest], sample__prompts=PROMPTS)


def test_weights_that_are_not_there_are_named_before_anything_runs(project: Project) -> None:
    for name, found in (("score.passt", "no.pt"), ("score.aesthetics", "./none")):
        key = name.replace(".", "__")
        project.set(**{key: found})
        done = project.run("python", "-m", "stages.check", check=False)
        project.set(**{key: {"score.passt": "cache/passt.pt", "score.aesthetics": "cache/aesthetics"}[name]})
        assert done.returncode == 2, done.stdout
        assert f"error: {name}: there is no" in done.stdout


def test_both_are_on_the_page_in_the_details_and_in_mlflow(project: Project) -> None:
    headline = project.columns()
    done = project.stages_of("dvc", "repro")
    assert {"reference", "score_audio", "report", "track"} <= set(done)
    assert project.columns() == headline, "what `dvc exp show` prints stays as it was"
    details = json.loads((project.folder / "data/scores/audio/details.json").read_text())
    for name in RATINGS | DIVERGENCES:
        one = details["estimates"][details["columns"][name]]
        assert one["low"] <= one["value"] <= one["high"], name
        assert one["n"] == PROMPTS
    reference = json.loads((project.folder / "data/scores/reference/details.json").read_text())
    assert {f"{name}_real" for name in RATINGS} | {f"{name}_recon" for name in DIVERGENCES} <= set(reference["columns"])
    page = (project.folder / "data/report/index.html").read_text()
    assert "KL-PaSST, KL(real || generated)" in page
    assert "production quality (PQ), audiobox-aesthetics" in page
    assert logged(project.folder) >= RATINGS | DIVERGENCES


def logged(folder: Path) -> set[str]:
    with sqlite3.connect(folder / "mlflow.db") as database:
        return {key for (key,) in database.execute("SELECT DISTINCT key FROM metrics")}
