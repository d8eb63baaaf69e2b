"""Presets: valid parameters, written without touching anything else, and undone to the byte."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from typer.testing import CliRunner

from musicgen_lite import models, params, presets
from musicgen_lite.cli import app
from musicgen_lite.errors import UserError
from musicgen_lite.training.corpus import Inputs
from musicgen_lite.training.setup import model_config

ROOT = Path(__file__).parent.parent
PRESETS = ROOT / "presets"
NAMES = presets.names(PRESETS)
REAL = [name for name in NAMES if name != "default"]


def plain(path: Path) -> dict[tuple[str, ...], Any]:
    """Every key and value of a YAML file, read without the code under test's round trip."""
    return dict(presets.leaves(YAML(typ="safe").load(path.read_text())))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml"))


def test_the_named_presets_are_there() -> None:
    assert {"attm", "default", "finetune", "folder", "musiccaps", "musiccaps-large"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_changes_its_keys_and_no_other(file: Path, name: str) -> None:
    before, wanted = plain(file), plain(PRESETS / f"{name}.yaml")
    comments = [line.split("#", 1)[1].strip() for line in file.read_text().splitlines() if "#" in line]
    changed = presets.write(name, PRESETS, file)
    assert plain(file) == before | wanted
    assert {tuple(key.split(".")) for key in changed} == {key for key in wanted if before[key] != wanted[key]}
    assert [line.split("#", 1)[1].strip() for line in file.read_text().splitlines() if "#" in line] == comments
    loaded = params.load(file).model_dump(mode="json")
    for keys, value in wanted.items():
        found: Any = loaded
        for key in keys:
            found = found[key]
        assert found == value


@pytest.mark.parametrize("name", REAL)
def test_default_undoes_a_preset_to_the_byte_and_leaves_other_changes(file: Path, name: str) -> None:
    original = file.read_text()
    presets.write(name, PRESETS, file)
    assert file.read_text() != original
    file.write_text(file.read_text().replace("seed: 0 ", "seed: 7 "))
    presets.write("default", PRESETS, file)
    assert file.read_text() == original.replace("seed: 0 ", "seed: 7 ")


def test_default_holds_the_repository_s_values_of_all_keys_of_all_presets() -> None:
    defaults, shipped = plain(PRESETS / "default.yaml"), plain(ROOT / "params.yaml")
    assert set(defaults) == {key for name in REAL for key in plain(PRESETS / f"{name}.yaml")}
    assert {key: shipped[key] for key in defaults} == defaults


def test_presets_say_what_they_are_for() -> None:
    small, large = (params_of(name) for name in ("musiccaps", "musiccaps-large"))
    assert small.train.precision == "16-mixed"
    assert small.codec.name == large.codec.name == "facebook/encodec_32khz"
    assert small.data.rate == large.data.rate == 32000
    assert small.text.name == large.text.name == "t5-base"
    assert small.data.source == large.data.source == "musiccaps"
    assert small.model.a.d_model < large.model.a.d_model


def test_fine_tuning_takes_the_codec_and_the_text_encoder_of_what_it_tunes() -> None:
    tuned, plain = params_of("finetune"), params_of("default")
    assert (tuned.model.type, tuned.trained, tuned.model.pattern) == ("musicgen", True, "delay")
    assert tuned.codec.name == tuned.text.name == tuned.train.init
    assert tuned.train.lora.rank > 0
    assert tuned.train.learning_rate < plain.train.learning_rate


@pytest.mark.parametrize("type", ["a", "b"])
def test_attm_keeps_the_rules_of_its_challenge(type: str) -> None:
    found = params_of("attm")
    assert (found.sample.seconds, found.sample.candidates, found.train.init) == (10.0, 1, "")
    assert found.score.clap == "music_audioset_epoch_15_esc_90.14.pt"
    assert "attm" in found.score.protocols
    inputs = Inputs(
        codec="codec", codebook_size=2048, num_codebooks=4, frame_rate=50.0, rate=32000, text="text", text_dim=768,
        max_text=found.text.max_tokens, max_prompt_frames=150,
    )  # fmt: skip
    chosen = found.model_copy(update={"model": found.model.model_copy(update={"type": type})})
    with torch.device("meta"):
        model = models.build(model_config(chosen, inputs))
    assert sum(one.numel() for one in model.parameters()) <= 500_000_000


def params_of(name: str) -> params.Params:
    tree = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    for keys, value in plain(PRESETS / f"{name}.yaml").items():
        section = tree
        for key in keys[:-1]:
            section = section[key]
        section[keys[-1]] = value
    return params.parse(tree)


def test_what_goes_wrong_is_named_and_changes_nothing(file: Path, tmp_path: Path) -> None:
    original = file.read_bytes()
    with pytest.raises(UserError, match="did you mean musiccaps"):
        presets.write("musiccap", PRESETS, file)
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "unknown.yaml").write_text("train:\n  stepz: 3\n")
    (folder / "wrong.yaml").write_text("train:\n  steps: -3\n")
    (folder / "torn.yaml").write_text("train: [1\n")
    for name, message in (
        ("unknown", r"train\.stepz"),
        ("wrong", r"train\.steps: found -3"),
        ("torn", "not valid YAML"),
    ):
        with pytest.raises(UserError, match=message):
            presets.write(name, folder, file)
    with pytest.raises(UserError, match="run from the root"):
        presets.write("default", tmp_path / "nowhere", file)
    assert file.read_bytes() == original
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def test_the_command(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(PRESETS, file.parent / "presets")
    monkeypatch.chdir(file.parent)
    done = CliRunner().invoke(app, ["preset", "folder"])
    assert done.exit_code == 0
    assert "data.source: synthetic -> folder" in done.output
    assert params.load(file).data.source == "folder"
    again = CliRunner().invoke(app, ["preset", "folder"])
    assert "nothing to change" in again.output
    wrong = CliRunner().invoke(app, ["preset", "fodler"])
    assert wrong.exit_code == 2
    assert "did you mean folder" in wrong.output


def test_a_folder_called_as_the_parameters_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(UserError, match=r"params\.yaml: not the name of a file"):
        presets.write("folder", PRESETS, tmp_path / "params.yaml")
    assert (tmp_path / "params.yaml").is_dir()
