"""Shipped files are checked against their manifest."""

from pathlib import Path

import pytest

from musicgen_lite import __version__
from musicgen_lite.errors import UserError
from musicgen_lite.models import ModelConfig
from musicgen_lite.pretrained import shipped
from pretraining.manifest import fingerprints, write_manifest
from tests.support.models_tiny import CONFIG


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("codec", "text"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_bytes(name.encode())
        (tmp_path / name / "README.md").write_text("# A model\n\n- Code commit: not yet\n- Steps: 3\n")
    (tmp_path / "__pycache__").mkdir()
    write_manifest(tmp_path, commit="abc123")
    return tmp_path


def test_whole_models_are_found(root: Path) -> None:
    assert shipped.path("codec", root) == root / "codec"
    assert shipped.path("text", root) == root / "text"


def test_the_manifest_holds_the_sha256_of_each_file_but_the_card(root: Path) -> None:
    manifest = write_manifest(root, commit="abc123")
    assert sorted(manifest) == ["codec", "text"]
    assert sorted(manifest["text"]) == ["config.json", "model.safetensors"]
    # sha256 of the bytes "text", as any sha256sum prints it
    assert manifest["text"]["model.safetensors"] == "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"


def test_sealing_fills_in_the_commit(root: Path) -> None:
    assert (root / "codec" / "README.md").read_text() == "# A model\n\n- Code commit: abc123\n- Steps: 3\n"


def test_a_damaged_file_is_named(root: Path) -> None:
    (root / "codec" / "model.safetensors").write_bytes(b"codeC")
    with pytest.raises(UserError, match=r"codec/model\.safetensors: damaged.*git checkout"):
        shipped.path("codec", root)
    assert shipped.path("text", root) == root / "text"


def test_a_missing_file_is_named(root: Path) -> None:
    (root / "text" / "config.json").unlink()
    with pytest.raises(UserError, match=r"text/config\.json: .*missing.*git checkout"):
        shipped.path("text", root)


def test_a_language_model_is_one_file_of_its_type_and_a_damaged_one_harms_no_other(root: Path) -> None:
    with pytest.raises(UserError, match=rf"MusicGen-Lite {__version__} ships no model of type a$"):
        shipped.model_file("a", root)
    (root / "models").mkdir()
    (root / "models" / "README.md").write_text("# Two models\n")
    for kind in "ab":
        (root / "models" / f"{kind}.safetensors").write_bytes(kind.encode())
    with pytest.raises(UserError, match=r"models/a\.safetensors: MANIFEST\.json does not know.*pretraining\.manifest"):
        shipped.model_file("a", root)
    assert sorted(write_manifest(root, commit="abc123")["models"]) == ["a.safetensors", "b.safetensors"]
    (root / "models" / "b.safetensors").write_bytes(b"B")
    assert shipped.model_file("a", root) == root / "models" / "a.safetensors"
    with pytest.raises(UserError, match=r"models/b\.safetensors: damaged.*git checkout"):
        shipped.model_file("b", root)


def test_a_missing_manifest_and_an_unknown_model_are_named(root: Path) -> None:
    with pytest.raises(UserError, match="no shipped model 'clap'; there are codec, text"):
        shipped.path("clap", root)
    (root / "MANIFEST.json").unlink()
    shipped.path.cache_clear()
    with pytest.raises(UserError, match=r"MANIFEST\.json: .*missing"):
        shipped.path("codec", root)


def test_files_are_checked_once_per_process(root: Path) -> None:
    shipped.path("codec", root)
    (root / "codec" / "model.safetensors").unlink()
    assert shipped.path("codec", root) == root / "codec"


def test_what_this_version_ships_is_among_the_releases() -> None:
    """Who ships other models raises the version and runs `python -m pretraining.manifest`: what a model needs is then found."""
    made = fingerprints()
    assert len(made) == 5
    for fingerprint in made:
        assert __version__ in shipped.shipped_by(fingerprint)
    assert shipped.shipped_by("0123456789abcdef") == []


@pytest.mark.slow
@pytest.mark.parametrize("part", ["codec", "text"])
def test_a_model_of_an_earlier_version_is_told_which_one(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    codec, text = (fingerprints()[place] for place in (3, 4))
    own = {"codec": codec, "text": text}
    model = ModelConfig(**{**CONFIG, **own})
    shipped.check_parts("m.safetensors", model, codec, text)
    newer = own | {part: "fedcba9876543210"}
    what, name = {"codec": ("codec", "codec.name"), "text": ("text encoder", "text.name")}[part]
    trained = rf"m\.safetensors: the model was trained with the {what} {own[part]}, but here it is fedcba9876543210; "
    with pytest.raises(UserError, match=rf"{trained}that one is shipped with this version: set {name} to embedded"):
        shipped.check_parts("m.safetensors", model, **newer)
    version = {"codec": r"0\.2\.0", "text": r"0\.1\.0"}[part]  # that first shipped it
    monkeypatch.setattr(shipped, "__version__", "7.0.0")
    with pytest.raises(
        UserError, match=rf"{trained}that one was shipped with MusicGen-Lite {version}, and this is 7\.0\.0"
    ):
        shipped.check_parts("m.safetensors", model, **newer)
    foreign = ModelConfig(**{**CONFIG, **own, part: "0123456789abcdef"})
    with pytest.raises(UserError, match=rf"no version shipped that one: set {name} to the directory"):
        shipped.check_parts("m.safetensors", foreign, codec, text)
