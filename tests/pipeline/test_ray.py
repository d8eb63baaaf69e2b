"""The stages on Ray, by DVC: the outputs that one process gave, and in a queued experiment the queued tree's code."""

from pathlib import Path

import pytest

from tests.pipeline.conftest import Base
from tests.support.project import Project

pytest.importorskip("ray", reason="needs the extra ray, which `make env` installs")
pytestmark = [pytest.mark.slow, pytest.mark.pipeline, pytest.mark.long]
SPREAD = {  # in the order in which DVC runs them
    "tokenize": ["data/tokens"],
    "embed": ["data/text"],
    "sample": ["data/samples"],
    "reference": ["data/reference", "data/scores/reference"],
    "score_audio": ["data/scores/audio", "metrics/audio.json"],
}
# Appended to a module that only workers run.
MARK = """
from pathlib import Path as _Path
with _Path({mark!r}).open("a") as _file:
    _file.write(__file__ + "\\n")
"""


def on_ray(project: Project) -> None:
    project.set(compute__engine="ray", compute__workers=2)


def test_on_ray_every_output_is_that_of_one_process_so_that_both_share_the_cache(base: Base, tmp_path: Path) -> None:
    project = base.project.copy(tmp_path / "project")
    on_ray(project)
    assert project.stages_of("dvc", "repro") == ["check", "track"], "the engine is no dep"
    before = {out: project.digest(stage, out) for stage, outs in SPREAD.items() for out in outs}
    assert project.stages_of("dvc", "repro", "-f", "-s", *SPREAD) == list(SPREAD)
    assert {out: project.digest(stage, out) for stage, outs in SPREAD.items() for out in outs} == before


def test_workers_of_a_queued_experiment_import_its_own_tree(base: Base, tmp_path: Path) -> None:
    project, mark = base.project.copy(tmp_path / "project"), tmp_path / "mark"
    module = project.folder / "src" / "musicgen_lite" / "text" / "embedding.py"
    module.write_text(module.read_text() + MARK.format(mark=str(mark)))
    on_ray(project)
    project.run("dvc", "exp", "run", "--queue", "-n", "elsewhere", "embed")
    project.reset()
    done = project.run("dvc", "exp", "run", "--run-all", "-j", "1").stdout
    assert "elsewhere" in project.run("dvc", "exp", "list", "--name-only").stdout, done
    # In the process of the stage, and in each worker, where Ray has unpacked that tree.
    places = [Path(line) for line in mark.read_text().splitlines()]
    assert any(".dvc/tmp/exps" in place.as_posix() for place in places)
    workers = [place for place in places if "py_modules_files" in place.as_posix()]
    assert 1 <= len(workers) <= 2
    assert len(places) == 1 + len(workers)
