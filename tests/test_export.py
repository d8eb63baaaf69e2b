"""A model as a folder, found again as a directory and by a name of the hub."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard
from typer.testing import CliRunner, Result

import musicgen_lite
from musicgen_lite import model_facts
from musicgen_lite.cli import app
from musicgen_lite.model_card import Origin, measured, model_card
from musicgen_lite.pretrained import shipped
from tests.test_generator import save

pytestmark = pytest.mark.slow

PROMPT = "A fast techno beat with a synth lead."
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def export(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["export", *arguments])


def made(model: str) -> Any:
    return musicgen_lite.load(model, clap="").generate(PROMPT, seconds=0.5, seed=3, candidates=1).samples


def test_a_shipped_model_becomes_a_folder_that_is_loaded_here_and_from_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = export("shipped-a", "mine")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in Path("mine").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    expected = made("shipped-a")
    assert np.array_equal(made("mine"), expected)
    # In the layout of the hub's own cache, out of its reach.
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    place = tmp_path / "hub" / "models--somebody--mine"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    shutil.copytree("mine", place / "snapshots" / COMMIT)
    for name in ("somebody/mine", f"somebody/mine@{COMMIT}"):
        assert np.array_equal(made(name), expected)
    done = CliRunner().invoke(
        app, ["generate", PROMPT, "--model", "mine", "--seconds", "0.5", "--candidates", "1", "-o", "out.wav"]
    )
    assert done.exit_code == 0, done.output


def test_the_card_of_a_shipped_model_has_its_figures(tmp_path: Path) -> None:
    assert export("shipped-b", "mine").exit_code == 0
    card = ModelCard.load("mine/README.md")
    assert card.data.license == "mit"
    assert card.data.pipeline_tag == "text-to-audio"
    own = (shipped.ROOT / "models" / "b.md").read_text()
    rows = [line for line in own.splitlines() if line.startswith("| ") and " to " in line]
    assert len(rows) > 8
    assert all(f"| {row.split('|')[2].strip()} |" in card.text for row in rows)
    assert len(card.data.eval_results) == len(rows)
    assert all(one.metric_args["ci95"][0] <= one.metric_value for one in card.data.eval_results)
    for heading in ("Metrics", "Intended use", "Training data", "Licence"):
        assert f"## {heading}\n" in card.text
    config = json.loads(Path("mine/config.json").read_text())
    assert (config["model_type"], config["type"]) == ("musicgen-lite", "b")


def test_the_card_of_a_run_has_its_headline_with_intervals_and_says_whose_the_data_are(tmp_path: Path) -> None:
    facts = model_facts.read(save(tmp_path / "own.safetensors", "a", name="/data/codec"))
    estimate = {"value": 4.24, "low": 4.13, "high": 4.34, "n": 128}
    real = {"value": 0.85, "low": 0.83, "high": 0.86, "n": 64}
    metrics = measured(
        {"nll_caption": estimate, "clap": real, "clap_real": real, "nll_bigram": estimate, "ppl": estimate}
    )
    assert [one.key for one in metrics] == ["nll", "clap"]
    text = model_card(facts, Origin("own", "folder", 4_390_000, metrics, "paced-line (0123abcd)"))
    assert "| NLL, nats per token | 4.24 (4.13 to 4.34, n 128) |  |  |" in text
    assert "| CLAP score | 0.85 (0.83 to 0.86, n 64) | 0.85 (0.83 to 0.86, n 64) |  |" in text
    assert "Run: paced-line (0123abcd)" in text
    assert "license: unknown" in text
    assert "not stated: that of the training data" in text
    assert "Directories of the machine that trained it: /data/codec" in text
    assert "license: cc-by-4.0" in model_card(facts, Origin("own", "folder", licence="cc-by-4.0"))


def test_what_cannot_be_exported_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    save(tmp_path / "own.safetensors", "a")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "own.safetensors").read_bytes()[:1000])
    before = sorted(tmp_path.rglob("*"))
    for arguments, message in (
        (("own.safetensors", "full"), "full: this folder is not empty"),
        (("own.safetensors", "own.safetensors"), "own.safetensors: there is a file of this name"),
        (("gone.safetensors", "new"), "gone.safetensors: there is no model file"),
        (("cut.safetensors", "new"), "cut.safetensors: not a whole model file"),
        (("full", "new"), "full: this is a folder"),
        (("somebody/published", "new"), "somebody/published: there is no model file"),
        (("own.safetensors", "/proc/none"), "nothing can be written here"),
    ):
        done = export(*arguments)
        assert done.exit_code == 2, (arguments, done.output)
        assert message in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
    # An empty folder is taken, and what a file does not say is not made up.
    (tmp_path / "empty").mkdir()
    assert export("own.safetensors", "empty").exit_code == 0
    assert "Not known here" in Path("empty/README.md").read_text()
    assert "Not noted in the model's file" in Path("empty/README.md").read_text()
    assert made("empty").shape == made("own.safetensors").shape == (8000,)
    # Its run is looked for, but it is not needed.
    done = export("own.safetensors", "other", "--tracking", "http://127.0.0.1:9")
    assert done.exit_code == 0, done.output
    assert "no MLflow server answers" in done.stderr
    assert "the card of the file has no metrics" in done.stderr
