"""Parameters: the shipped file is valid, and every kind of mistake is named with what is allowed."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from musicgen_lite import params
from musicgen_lite.errors import UserError

FILE = Path(__file__).parent.parent / "params.yaml"


def tree() -> dict[str, Any]:
    return dict(YAML(typ="safe").load(FILE.read_text()))


def change(path: str, value: Any) -> dict[str, Any]:
    changed = tree()
    section: Any = changed
    *sections, key = path.split(".")
    for name in sections:
        section = section[name]
    section[key] = value
    return changed


def test_shipped_file_is_valid_and_frozen() -> None:
    loaded = params.load(FILE)
    assert loaded.model.decoder is loaded.model.a
    with pytest.raises(Exception, match="frozen"):
        loaded.seed = 1  # type: ignore[misc]


def test_every_key_has_a_comment_or_a_commented_section() -> None:
    lines = [line for line in FILE.read_text().splitlines() if ":" in line and not line.lstrip().startswith(("#", "-"))]
    leaves = [line for line in lines if line.split(":", 1)[1].split("#")[0].strip()]
    commented = [line for line in leaves if "#" in line]
    assert len(commented) / len(leaves) > 0.6


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("model.typ", "b", "did you mean model.type?"),
        ("train.learning_rat", 0.1, "did you mean train.learning_rate?"),
        ("zzz", 1, "allowed here: seed, compute, data"),
        ("model.type", "c", "model.type: found 'c'; input should be 'a', 'b' or 'musicgen'"),
        ("train.steps", "many", "train.steps: found 'many'"),
        ("train.steps", 0, "train.steps: found 0; input should be greater than or equal to 1"),
        ("sample.top_k", -1, "sample.top_k: found -1"),
        ("data.prompt_seconds", 9.0, "prompt_seconds (9) must be less than seconds (8)"),
        (
            "data.source",
            "musiccap",
            "data.source: found 'musiccap'; input should be 'synthetic', 'folder' or 'musiccaps'",
        ),
        ("data.min_seconds", 9.0, "min_seconds (9) must not exceed seconds (8)"),
        ("data.musiccaps.url", "http://mirror", "found 'http://mirror'; it must hold {ytid}"),
        ("data.musiccaps.worker", 2, "did you mean data.musiccaps.workers?"),
        ("model.a.d_model", 190, "d_model (190) must be an even multiple of heads (4)"),
        ("train.batch_size", 7, "must be a multiple of batch_size (7)"),
        ("train.batch_size", 0, "train.batch_size: found 0; allowed are auto and whole numbers from 1"),
        ("train.batch_size", "max", "train.batch_size: found 'max'; allowed are auto and whole numbers from 1"),
        ("train.batch_size", True, "train.batch_size: found True; allowed are auto"),
        ("sample.seconds", 6.0, "must not exceed train.crop_seconds"),
        ("train.crop_seconds", 7.0, "must not exceed data.seconds - data.prompt_seconds"),
        (
            "text.variants",
            ["caption", "aspect"],
            "text.variants.1: found 'aspect'; input should be 'caption', 'aspects'",
        ),
        (
            "text.variants",
            ["both", "caption", "both"],
            "text.variants: found both, caption, both; each is allowed once",
        ),
        ("text.variants", [], "text.variants: found []"),
        ("tracking.required", "yes", "tracking.required: found 'yes'"),
    ],
)
def test_mistakes_are_named(path: str, value: Any, expected: str) -> None:
    with pytest.raises(UserError) as error:
        params.parse(change(path, value))
    assert expected in str(error.value)


def test_all_mistakes_are_reported_at_once() -> None:
    wrong = change("model.type", "c")
    wrong["train"]["steps"] = -5
    del wrong["score"]["clap"]
    with pytest.raises(UserError) as error:
        params.parse(wrong)
    for name in ("model.type", "train.steps", "score.clap: missing"):
        assert name in str(error.value)


def test_scientific_notation_is_a_number_as_dvc_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(FILE.read_text().replace("learning_rate: 0.001", "learning_rate: 1e-3"))
    assert params.load(file).train.learning_rate == 1e-3


@pytest.mark.parametrize("text", ["- a list", "a: [1", ""])
def test_files_that_are_no_mapping(tmp_path: Path, text: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=r"params\.yaml"):
        params.load(file)


def test_missing_file() -> None:
    with pytest.raises(UserError, match="run from the root"):
        params.load("nowhere.yaml")


def test_a_published_model_has_its_own_pattern_and_no_sizes() -> None:
    published = change("model.type", "musicgen")
    with pytest.raises(ValueError, match="musicgen is published as it is"):
        _ = params.parse(published).model.decoder
    published["model"]["pattern"] = "interleaved"
    with pytest.raises(UserError, match=r"model: pattern: found 'interleaved'; MusicGen predicts in the pattern delay"):
        params.parse(published)
