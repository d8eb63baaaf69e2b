"""The whole pipeline on Ray, by DVC, in an experiment's copy of the tree: the results of one process, by that copy's code."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.pipeline.conftest import Base
from tests.support.project import Project, stages_run

pytest.importorskip("ray", reason="needs the extra ray, which `make env` installs")
from ray.cluster_utils import Cluster

from musicgen_lite.compute.on_ray import OWN_RAY

pytestmark = [pytest.mark.slow, pytest.mark.pipeline, pytest.mark.long, pytest.mark.timeout(1200)]
# They say when and where something was computed.
OF_THE_RUN = {"data/run", "data/report"}
# Appended to a module that only the stage `embed` and its workers run.
MARK = """
from pathlib import Path as _Path
with _Path({mark!r}).open("a") as _file:
    _file.write(__file__ + "\\n")
"""


@pytest.fixture
def address() -> Iterator[str]:
    """A Ray of two CPUs that all stages share: each starts a worker of its own there."""
    os.environ.update(OWN_RAY | os.environ)
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield started.address
    started.shutdown()


def outputs(project: Project) -> dict[str, str]:
    """The digest that dvc.lock holds for each output."""
    lock = YAML(typ="safe").load((project.folder / "dvc.lock").read_text())
    return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage.get("outs", [])}


def changed(project: Project) -> set[str]:
    """The stages that DVC would run."""
    return set(json.loads(project.run("dvc", "status", "--json").stdout.splitlines()[-1]))


def test_every_stage_on_ray_gives_what_one_process_gave_by_the_code_of_its_own_tree(
    base: Base, address: str, tmp_path: Path
) -> None:
    project, mark = base.project.copy(tmp_path / "project"), tmp_path / "mark"
    project.set(compute__engine="ray", compute__address=address, compute__workers=1)
    assert changed(project) == {"check", "track"}, "the engine is no dep: these two always run"
    before, scores = outputs(project), project.metrics()
    module = project.folder / "src" / "musicgen_lite" / "text" / "embedding.py"
    module.write_text(module.read_text() + MARK.format(mark=str(mark)))
    done = project.run("dvc", "exp", "run", "--temp", "--force", "-n", "elsewhere").stdout
    assert stages_run(done) == stages_run(base.output)
    stage, worker = (Path(line).as_posix() for line in mark.read_text().splitlines())
    assert ".dvc/tmp/exps" in stage
    assert "py_modules_files" in worker, "where Ray has unpacked that tree"
    project.reset()
    project.run("dvc", "exp", "apply", "elsewhere")
    assert project.metrics() == scores
    after = outputs(project)
    assert after.keys() == before.keys()
    assert {path for path, digest in after.items() if digest != before[path]} <= OF_THE_RUN
