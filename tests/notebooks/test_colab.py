"""notebooks/colab.ipynb, the file itself: run from an empty folder with tiny parameters, as on a machine that has the package."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import soundfile
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from musicgen_lite import models
from tests.support.clip_folders import make
from tests.support.mlflow_runs import Runs
from tests.support.project import ENVIRONMENT, Project, create
from tests.support.warm import warmed

FILE = Path(__file__).parent.parent.parent / "notebooks" / "colab.ipynb"
# The notebook finds the commands beside its Python; these begin with what they import.
SCRIPTS = """
import sysconfig
_real = sysconfig.get_path
sysconfig.get_path = lambda name, *words, **options: {!r} if name == "scripts" else _real(name, *words, **options)
"""
SHIPPED = "src/musicgen_lite/weights/models/a.safetensors"


def notebook(**parameters: Any) -> nbformat.NotebookNode:
    """The notebook, with a cell behind the one tagged `parameters` that sets others."""
    read = nbformat.read(FILE, as_version=4)
    (place,) = (number for number, cell in enumerate(read.cells) if "parameters" in cell.metadata.get("tags", []))
    lines = [f"{name} = {value!r}" for name, value in parameters.items()]
    read.cells.insert(place + 1, nbformat.v4.new_code_cell("\n".join(lines)))
    return read


def run(read: nbformat.NotebookNode, folder: Path) -> None:
    """Run it in `folder`; raises CellExecutionError for a cell that fails."""
    client = NotebookClient(read, timeout=None, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    warm, settings = warmed(ENVIRONMENT), folder / ".ipython"
    startup = settings / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "warm.py").write_text(SCRIPTS.format(warm["PATH"].split(os.pathsep)[0]))
    client.execute(env={**warm, "IPYTHONDIR": str(settings)})


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def zipped(folder: Path) -> Path:
    """A .zip of ten clips of 5 s with their table, in a folder."""
    inside = folder / "clips" / "my music"
    inside.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(10):
        times = np.arange(round(5.1 * 16000)) / 16000
        wave = 0.3 * np.sin(2 * np.pi * 110 * 2 ** (number / 12) * times) * (times * (2 + number / 4) % 1 < 0.5)
        soundfile.write(inside / f"{number}.wav", wave + 0.01 * random.standard_normal(len(wave)), 16000)
    make(inside, [f"{number}.wav,A pulsing tone of number {number}." for number in range(10)])
    return Path(shutil.make_archive(str(folder / "mine"), "zip", folder / "clips"))


def test_it_is_committed_without_outputs_and_says_what_each_cell_does() -> None:
    read = nbformat.read(FILE, as_version=4)
    nbformat.validate(read)
    for before, cell in zip(read.cells, read.cells[1:], strict=False):
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)
            assert before.cell_type == "markdown"
    (parameters,) = (cell.source for cell in read.cells if "parameters" in cell.metadata.get("tags", []))
    assert 'REPOSITORY = ""' in parameters
    assert 'CLIPS = ""' in parameters


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "REPOSITORY is empty"),
        ({"REPOSITORY": "nowhere.git"}, "git clone .*: ended with 128; the lines above say why"),
    ],
)
def test_without_a_repository_it_says_what_to_write(tmp_path: Path, parameters: dict[str, str], message: str) -> None:
    with pytest.raises(CellExecutionError, match=message):
        run(notebook(**parameters), tmp_path)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.pipeline
@pytest.mark.timeout(3600)
def test_it_generates_tunes_and_compares(tmp_path: Path) -> None:
    source = create(tmp_path / "source")
    source.set(model__a__layers=4, model__a__heads=4)  # the shipped model's
    source.commit()
    empty = tmp_path / "empty"
    empty.mkdir()
    read = notebook(REPOSITORY=str(source.folder), CLIPS=str(zipped(tmp_path)), STEPS=2, SECONDS=0.5, CANDIDATES=2)
    # A cell may be run again.
    again = next(cell for cell in read.cells if "-S train.steps=0" in cell.source)
    read.cells.insert(read.cells.index(again) + 1, nbformat.v4.new_code_cell(again.source))
    run(read, empty)

    project = Project(empty / "musicgen-lite")
    runs = {run.name: run for run in Runs(project).all().values()}
    assert {name: run.status for name, run in runs.items()} == {"before": "FINISHED", "after": "FINISHED"}
    assert [runs[name].params["train.steps"] for name in ("before", "after")] == ["0", "2"]
    assert all(run.params["train.init"] == "shipped" for run in runs.values())
    tuned, shipped = (models.load(project.folder / name)[0] for name in ("data/model/model.safetensors", SHIPPED))
    assert any((a != b).any() for a, b in zip(tuned.parameters(), shipped.parameters(), strict=True))

    cells = [cell for cell in read.cells if cell.cell_type == "code"]
    sounds = [
        len([output for output in cell.outputs if "audio" in str(output.get("data", {}).get("text/html", ""))])
        for cell in cells
    ]
    assert sounds == [0, 0, 0, 1, 0, 0, 0, 0, 2, 0]
    assert re.search(r"nll|NLL", printed(cells[-1]))
    assert (project.folder / "compare.html").is_file()
    assert printed(cells[-1]).strip().endswith("compare.html")
