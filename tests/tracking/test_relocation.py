"""A copied or moved repository keeps its artifacts to itself: real databases, copied as a person would."""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from musicgen_lite import tracking
from musicgen_lite.errors import UserError
from musicgen_lite.io.files import write_json
from tests.support.tracked_runs import begin, client, content, settings

pytestmark = pytest.mark.slow

SCORES = {f"scores/{name}.json": name for name in ("nll", "reference", "audio")}


def write_run(root: Path, kept: str) -> tracking.RunRef:
    """A finished run that `read` takes, of a training of its own."""
    with begin(root, kept=kept) as run:
        pass
    for name in SCORES.values():
        write_json(root / f"{name}.json", {"of": kept})
    files = {path: root / f"{name}.json" for path, name in SCORES.items()}
    table = {"tables/signals": pd.DataFrame({"id": ["x"]})}
    return tracking.close(settings(), root, run.record, **content(files=files, tables=table, key_parts=[kept]))


def files(root: Path) -> dict[Path, tuple[int, int]]:
    """Every file with its size and time."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file()}


def places(root: Path) -> set[Path]:
    """Where the experiment and its runs keep artifacts."""
    mlflow = client(root)
    experiment = mlflow.get_experiment_by_name("test")
    runs = mlflow.search_runs([experiment.experiment_id])
    return {Path(experiment.artifact_location), *(Path(run.info.artifact_uri).parents[1] for run in runs)}


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """Two finished runs and one that is under way; the name holds what SQL takes for a wildcard."""
    root = tmp_path / "my-clone"
    root.mkdir()
    for kept in ("first", "second"):
        write_run(root, kept)
    begin(root, kept="open")
    return root


def test_a_copy_writes_and_reads_its_own(original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy, kept = tmp_path / "my_clone", files(original)
    shutil.copytree(original, copy)
    assert write_run(copy, "third").created is False
    said = capsys.readouterr().err
    assert f"artifacts in {original / 'mlartifacts'}" in said
    assert f"3 of its runs now have them in {copy / 'mlartifacts'}\n" in said
    write_run(copy, "open")
    assert files(original) == kept
    assert places(copy) == {copy / "mlartifacts"}
    assert "made elsewhere" not in capsys.readouterr().err

    shutil.rmtree(original)
    ids = [run.info.run_id for run in client(copy).search_runs(["1"], "attributes.status = 'FINISHED'")]
    assert {run.scores["nll"]["of"] for run in tracking.read(settings(), copy, ids)} == {
        "first",
        "second",
        "third",
        "open",
    }
    assert not original.exists()


def test_what_was_not_brought_along_is_named_with_both_places(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copy(original / "mlflow.db", moved)
    (brought, left) = client(original).search_runs(["1"], "attributes.status = 'FINISHED'")
    run_id, other = brought.info.run_id, left.info.run_id
    shutil.copytree(original / "mlartifacts" / run_id, moved / "mlartifacts" / run_id)
    assert len(tracking.read(settings(), moved, [run_id, other])) == 2  # what is left is read where it lies
    assert "1 still have theirs there" in capsys.readouterr().err
    shutil.move(original, tmp_path / "away")
    with pytest.raises(UserError) as error:
        tracking.read(settings(), moved, [other])
    assert f"not in {original / 'mlartifacts' / other / 'artifacts'}" in str(error.value)
    assert f"copy them to {moved / 'mlartifacts'}" in str(error.value)
    assert not original.exists()
    shutil.copytree(tmp_path / "away" / "mlartifacts" / other, moved / "mlartifacts" / other)
    assert len(tracking.read(settings(), moved, [other])) == 1
    assert places(moved) == {moved / "mlartifacts"}


def test_a_place_that_was_chosen_stays(original: Path, tmp_path: Path) -> None:
    chosen = client(original).create_experiment("other", str(tmp_path / "chosen"))
    os.rename(original, tmp_path / "moved")
    begin(tmp_path / "moved")
    assert client(tmp_path / "moved").get_experiment(chosen).artifact_location == str(tmp_path / "chosen")
    assert places(tmp_path / "moved") == {tmp_path / "moved" / "mlartifacts"}
