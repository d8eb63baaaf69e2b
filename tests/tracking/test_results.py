"""Rows are found by name, id or the beginning of an id, and read back as they were written."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from musicgen_lite import tracking
from musicgen_lite.cli import app
from musicgen_lite.errors import UserError
from musicgen_lite.io.files import write_json, write_table
from musicgen_lite.params import TrackingParams
from musicgen_lite.tracking.connection import connect, locate
from musicgen_lite.tracking.results import choose
from musicgen_lite.tracking.ui import share_view

HERE = TrackingParams(uri="", experiment="test", required=True)


def run(name: str, run_id: str, kind: str, start: int) -> Any:
    info = SimpleNamespace(run_id=run_id, run_name=name, start_time=start)
    return SimpleNamespace(info=info, data=SimpleNamespace(params={"model.type": kind}))


# Newest first, as the database gives them.
ROWS = [
    run("late-b", "ab34", "b", 4),
    run("twin", "ab12", "a", 3),
    run("twin", "cd12", "a", 2),
    run("old-b", "ef12", "b", 1),
]


def test_without_names_the_newest_of_each_model_type_older_first() -> None:
    assert [one.info.run_id for one in choose(ROWS, [])] == ["ab12", "ab34"]
    same = [ROWS[1], ROWS[2]]
    assert [one.info.run_id for one in choose(same, [])] == ["cd12", "ab12"]


def test_runs_are_named_by_name_id_or_beginning_in_the_order_given() -> None:
    assert [one.info.run_id for one in choose(ROWS, ["late-b", "cd12", "e"])] == ["ab34", "cd12", "ef12"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["twin"], r"'twin': 2 runs have this name or id.*twin \(ab12, model a.*twin \(cd12"),
        (["ab"], r"'ab': 2 runs"),
        (["nobody"], r"'nobody': no finished run.*late-b \(ab34, model b"),
        (["late-b", "ab34"], "named twice"),
    ],
)
def test_unknown_and_ambiguous_names_list_candidates(wanted: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose(ROWS, wanted)


def test_mistakes_on_the_command_line_are_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for arguments, message in (
        (["-o", "page.pdf"], "page.pdf: the page is written as .html"),
        (["--prompts", "0"], "prompts: found 0"),
        (["run", "--votes", "v.csv"], "--votes: the file names its runs itself"),
        (["--votes", "v.csv"], "v.csv: no such file"),
        ([], "no mlflow.db here"),
    ):
        done = CliRunner().invoke(app, ["compare", *arguments])
        assert done.exit_code == 2
        assert message in done.stderr


def test_a_server_that_must_be_read_cannot_be_gone_without(tmp_path: Path) -> None:
    gone = TrackingParams(uri="http://127.0.0.1:9", experiment="test", required=True)
    for read in (lambda: tracking.read(gone, tmp_path), lambda: tracking.model_file(gone, tmp_path, "x")):
        with pytest.raises(UserError, match=r"no MLflow server answers .*; start it, or change tracking\.uri$"):
            read()


@pytest.mark.slow
def test_a_run_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    details = {"estimates": {}, "columns": {}, "notes": {"x": 1}}
    files = {"sounds.parquet": tmp_path / "sounds.parquet", "model/model.safetensors": tmp_path / "weights"}
    files["model/model.safetensors"].write_bytes(b"weights")
    for name in ("nll", "reference", "audio"):
        files[f"scores/{name}.json"] = tmp_path / f"{name}.json"
        write_json(tmp_path / f"{name}.json", details)
    sounds = pd.DataFrame(
        {"prompt": ["p"], "caption": ["c"], "fixed": [True], "kind": ["generated"], "flac": [b"fLaC"]}
    )
    write_table(tmp_path / "sounds.parquet", sounds)
    table = pd.DataFrame({"id": ["x", "y"], "stated_bpm": [120.0, None], "hit": [True, False]})
    with tracking.begin(HERE, tmp_path, {"model": {"type": "a"}}, tmp_path / "run.json") as run:
        pass
    with pytest.raises(UserError, match="no finished run yet"):
        tracking.read(HERE, tmp_path)
    ref = tracking.close(
        HERE, tmp_path, run.record, curves=[{"step": 2, "val_loss": 3.0}, {"step": 1, "val_loss": 4.0}],
        scoring_params={}, key_parts=[], metrics={"clap": 0.25}, tables={"tables/signals": table}, audio={}, images={},
        files=files, tags={},
    )  # fmt: skip
    (found,) = tracking.read(HERE, tmp_path, [str(ref.run_id)[:6]])
    assert (found.name, found.metrics["clap"], found.params["model.type"]) == (ref.name, 0.25, "a")
    assert found.curves == ({"step": 1.0, "val_loss": 4.0}, {"step": 2.0, "val_loss": 3.0})
    assert found.scores["nll"] == details
    pd.testing.assert_frame_equal(found.tables["signals"], table)
    assert found.sounds is not None
    pd.testing.assert_frame_equal(found.sounds, sounds.rename(columns={"flac": "sound"}))

    model = tracking.model_file(HERE, tmp_path, ref.name)
    assert model.is_relative_to(tmp_path / "mlartifacts" / str(ref.run_id))  # the artifact itself, no copy
    assert model.read_bytes() == b"weights"
    with pytest.raises(UserError, match=rf"'nobody': no finished run has this name or id; the newest are {ref.name} "):
        tracking.model_file(HERE, tmp_path, "nobody")
    model.unlink()
    with pytest.raises(UserError, match=rf"run {ref.name} .* hold no model; delete the run in MLflow, and `dvc repro`"):
        tracking.model_file(HERE, tmp_path, ref.name)

    connection = connect(locate(HERE, tmp_path))
    assert share_view(connection)
    tags = connection.client.get_experiment(connection.experiment_id).tags
    assert "metrics.`nll`" in tags["mlflow.sharedViewState.musicgen-lite"]
