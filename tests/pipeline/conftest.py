"""One `dvc repro` of the tiny project, shared by all tests of a session, whichever process runs them."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from benchmarks import gpu_pipeline as gpu
from tests.support.project import ENVIRONMENT, Project, create
from tests.support.stores import postgres as postgres
from tests.support.stores import postgres_server as postgres_server
from tests.support.stores import s3 as s3
from tests.support.stores import s3_server as s3_server
from tests.support.warm import warmed

RECORDING = Path(__file__).parent / "recording"


@dataclass(frozen=True)
class Base:
    """A committed project in which model A was trained and scored.

    `output` is what `dvc repro` printed; `imports` holds a file for each process of a stage, named `stage.pid`, that lists the
    project's files it imported.
    """

    project: Project
    output: str
    imports: Path


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Base:
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    folder, log, imports = shared / "base", shared / "base.log", shared / "base.imports"
    with FileLock(shared / "base.lock"):
        if not log.exists():
            imports.mkdir()
            project = create(folder)
            recording = {"PYTHONPATH": str(RECORDING), "RECORDED_IMPORTS": str(imports)}
            gpu.prepare(project, "cpu")  # as the smoke run on a GPU has it run
            code, steps = gpu.repro(project, warmed({**ENVIRONMENT, **recording}))
            output = gpu.text(steps)
            assert code == 0, output
            project.commit()
            log.write_text(output)
    return Base(Project(folder), log.read_text(), imports)


@pytest.fixture(scope="module")
def project(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the base project, for the tests of one file."""
    return base.project.copy(tmp_path_factory.mktemp("copy") / "project")
