"""The tab of runs: a real MLflow run, its sounds, its model, and the registry's aliases."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio_client import Client

from musicgen_lite import model_facts, tracking
from musicgen_lite.app.models import Shelf
from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from musicgen_lite.io.files import write_json, write_table
from musicgen_lite.tracking import connection
from musicgen_lite.tracking.logged import ModelFile
from tests.support import tracked_runs
from tests.support.runs_of_report import sounds
from tests.support.web_page import PROMPT, Served, served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
EXPERIMENT = "musicgen-lite"  # the default of the command line
ALIAS = "models:/musicgen-lite@latest-b"
HERE = tracked_runs.settings(experiment=EXPERIMENT, registered_model="musicgen-lite")


@pytest.fixture(scope="module")
def repository(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a finished run of model B, which is registered, and the run's id."""
    folder = tmp_path_factory.mktemp("repository")
    files = {"sounds.parquet": folder / "sounds.parquet"}
    model = Path(shutil.copy(models["b"], folder / "model.safetensors"))
    tone = 0.2 * np.sin(np.arange(16000) / 8).astype(np.float32)
    made = sounds(200)
    made.loc[0, "sound"] = audio.encode_flac(tone, 16000)
    write_table(files["sounds.parquet"], made.rename(columns={"sound": "flac"}))
    for name in ("nll", "reference", "audio"):
        files[f"scores/{name}.json"] = folder / f"{name}.json"
        write_json(files[f"scores/{name}.json"], {"estimates": {}, "columns": {}, "notes": {}})
    with tracked_runs.begin(folder, {"model": {"type": "b"}}, experiment=EXPERIMENT) as run:
        pass
    content = tracked_runs.content(files=files, metrics={"clap": 0.81234, "nll": 3.5})
    logged = ModelFile(model, model_facts.read(model).metadata("synthetic"))
    run_id = str(tracking.close(HERE, folder, run.record, **content, model=logged).run_id)
    client = tracked_runs.client(folder)
    client.create_registered_model("foreign")  # somebody else's, which the page leaves alone
    client.create_model_version("foreign", str(folder))
    client.set_registered_model_alias("foreign", "best", "1")
    return folder, run_id


@pytest.fixture(scope="module")
def page(repository: tuple[Path, str]) -> Iterator[Served]:
    with served(repository[0], "--threads", "1") as found:
        yield found


def made(client: Client, model: str) -> str:
    return str(client.predict(model, PROMPT, 0.5, 2.0, 1, 0, None, None, None, None, api_name="/create")[1])


def test_a_run_is_shown_heard_and_used(page: Served, repository: tuple[Path, str]) -> None:
    folder, run_id = repository
    client = Client(page.address, verbose=False, download_files=False)
    note, shown, choice, *_, model, _, _ = client.predict(api_name="/runs")
    assert note == "1 finished run, the newest first."
    headers, _, first = (line.split(" | ") for line in shown.splitlines())
    row = dict(zip(headers, first, strict=True))
    assert (row["Id"], row["Model"]) == (run_id[:8], "B")
    assert {"0.812", "3.500"} <= set(row.values())
    assert choice["value"] == run_id
    assert [ALIAS, ALIAS] in model["choices"]
    client.predict(run_id, api_name="/sounds")
    (sound,) = page.folder.glob("musicgen-lite-app-*/*/sound-1.flac")
    assert audio.read(sound)[0].shape == (1, 16000)
    chosen = client.predict(run_id, api_name="/use")[0]
    assert chosen["value"] == f"run {run_id[:8]}"
    assert made(client, chosen["value"]).startswith("Done: 0.5 s")
    # The next visitor is offered both.
    other = Client(page.address, verbose=False, download_files=False)
    for name in (ALIAS, f"run {run_id[:8]}"):
        assert made(other, name).startswith("Done: 0.5 s")
    assert httpx.get(f"{page.address}gradio_api/file={folder / 'mlflow.db'}").status_code in (403, 404)


def test_a_model_is_offered_under_the_name_that_the_command_gave(repository: tuple[Path, str], tmp_path: Path) -> None:
    """An alias of the registry, a run and a file; what they stand for is never shown in their place."""
    folder = Path(
        shutil.copytree(
            repository[0], tmp_path / "repository", ignore=shutil.ignore_patterns("*.log", "musicgen-lite-app-*")
        )
    )
    names = [ALIAS, tracking.finished(HERE, folder)[0].name, "model.safetensors"]
    with served(folder, "--threads", "1", *(f"--model={name}" for name in names)) as page:
        fields = httpx.get(f"{page.address}config").json()["components"]
        (choices,) = (one["props"]["choices"] for one in fields if one["props"].get("label") == "Model")
        assert [name for name, _ in choices if not name.startswith("shipped-")] == names
        client = Client(page.address, verbose=False, download_files=False)
        for name in names:
            assert made(client, name).startswith("Done: 0.5 s")
            assert "| type | B |" in client.predict(name, api_name="/about")


def test_models_of_the_registry_are_offered_by_their_aliases(repository: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = repository
    assert tracking.aliases(HERE, folder) == ["models:/foreign@best", ALIAS]
    assert tracking.aliases(HERE, tmp_path) == []
    assert not list(tmp_path.iterdir())  # no database is made for asking
    shelf = Shelf({}, tmp_path)
    shelf.offer_registered(HERE, folder)
    assert shelf.get(ALIAS).model.config.type == "b"
    assert "models:/foreign@best" not in shelf.names


def test_a_database_that_is_locked_is_named(
    page: Served, repository: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LOCKED_S", 0.1)
    folder, _ = repository
    with sqlite3.connect(folder / "mlflow.db", isolation_level=None) as database:
        database.execute("BEGIN EXCLUSIVE")
        with pytest.raises(
            UserError, match=r"database is locked, by another process for more than 0.1 s; end that one; or change"
        ):
            tracking.finished(HERE, folder)
        client = Client(page.address, verbose=False, download_files=False)
        assert made(client, "shipped-a").startswith("Done")  # the page goes on
        database.execute("ROLLBACK")
    assert len(tracking.finished(HERE, folder)) == 1
