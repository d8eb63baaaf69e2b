"""Where models are found, and which files are never trusted."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from musicgen_lite import codec, text
from musicgen_lite.errors import UserError
from musicgen_lite.params import parse
from musicgen_lite.pretrained import locate
from musicgen_lite.pretrained.shipped import path
from tests.support.no_hub import refusal

EMBEDDED = {"embedded": "text"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROOT = Path(__file__).parent.parent.parent


def pickled(folder: Path) -> str:
    """The shipped text encoder with its weights as a pickle; the sha256 of that."""
    shutil.copytree(path("text"), folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return hashlib.sha256((folder / "pytorch_model.bin").read_bytes()).hexdigest()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, out of reach of the hub itself."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def keep(hub: Path, name: str, commit: str = COMMIT, shipped: str = "text") -> Path:
    """Put a shipped model into the cache, as if fetched under `name` as the newest commit."""
    place = hub / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True, exist_ok=True)
    (place / "refs" / "main").write_text(commit)
    return shutil.copytree(path(shipped), place / "snapshots" / commit)


def test_a_pickle_is_loaded_only_with_its_sha256(tmp_path: Path) -> None:
    digest = pickled(tmp_path / "old")
    with pytest.raises(UserError, match=rf"pytorch_model\.bin: a pickle.*{digest}.*text\.name.*trusted_pickles"):
        text.load(str(tmp_path / "old"))
    with pytest.raises(UserError, match=f"{digest}, which trusted_pickles does not hold"):
        text.load(str(tmp_path / "old"), trusted=["0" * 64])
    assert text.load(str(tmp_path / "old"), trusted=[digest]).fingerprint == text.load("embedded").fingerprint
    assert locate(str(tmp_path / "old"), "text.name", EMBEDDED, [digest]).sha256 == digest
    # Where no weights are wanted, none are looked at.
    assert locate(str(tmp_path / "old"), "text.name", EMBEDDED, small=True).sha256 == ""


def test_safetensors_are_taken_where_a_pickle_lies_beside_them(tmp_path: Path) -> None:
    folder = shutil.copytree(path("text"), tmp_path / "both")
    (folder / "pytorch_model.bin").write_bytes(b"no pickle at all")
    assert text.load(str(folder)).fingerprint == text.load("embedded").fingerprint


def test_what_the_hub_gave_once_is_found_without_it(hub: Path) -> None:
    folder = keep(hub, "somebody/t5-tiny")
    for name in ("somebody/t5-tiny", "somebody/t5-tiny@main", f"somebody/t5-tiny@{COMMIT}"):
        source = locate(name, "text.name", EMBEDDED)
        assert (source.folder, source.revision) == (folder, COMMIT)
    encoder = text.load("somebody/t5-tiny")
    assert encoder.revision == COMMIT
    assert encoder.name == f"somebody/t5-tiny@{COMMIT}"
    assert text.load(encoder.name).name == encoder.name
    assert encoder.fingerprint == text.load("embedded").fingerprint
    with pytest.raises(UserError, match=r"'somebody/t5-tiny@other'.*hub did not give it"):
        locate("somebody/t5-tiny@other", "text.name", EMBEDDED)


def test_a_codec_of_the_hub_is_found_again_at_the_commit_that_it_was_first_found_at(hub: Path) -> None:
    keep(hub, "somebody/codec", shipped="codec")
    first = codec.load("somebody/codec", num_codebooks=4)
    assert (first.name, first.revision) == (f"somebody/codec@{COMMIT}", COMMIT)
    # The hub moves on; a trained model names its codec as it was.
    newer = keep(hub, "somebody/codec", "f" * 40, shipped="codec")
    tensors = load_file(newer / "model.safetensors")
    save_file(
        {key: 2 * value for key, value in tensors.items()}, newer / "model.safetensors", metadata={"format": "pt"}
    )
    assert codec.load("somebody/codec", num_codebooks=4).fingerprint != first.fingerprint
    again = codec.load(first.name, num_codebooks=4)
    assert (again.name, again.revision, again.fingerprint) == (first.name, COMMIT, first.fingerprint)
    assert codec.load("embedded", num_codebooks=4).name == "embedded"


def test_half_a_model_in_the_cache_is_not_taken_for_one(hub: Path) -> None:
    (keep(hub, "somebody/half") / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"text\.name: 'somebody/half' is none of embedded.*hub did not give it"):
        locate("somebody/half", "text.name", EMBEDDED)


@pytest.mark.slow
@pytest.mark.parametrize("offline", [False, True])
def test_without_a_network_an_unknown_name_is_refused_without_waiting_for_it(tmp_path: Path, offline: bool) -> None:
    imports = "import huggingface_hub, musicgen_lite.codec.encodec; from musicgen_lite import codec"
    took, message = refusal(tmp_path, imports, "codec.load('facebook/encodec_32khz', num_codebooks=4)", offline)
    assert "codec.name: 'facebook/encodec_32khz' is none of embedded" in message
    assert took < 60.0  # the client of the hub would ask again for longer


def test_a_trusted_sha256_is_one(tmp_path: Path) -> None:
    from ruamel.yaml import YAML

    tree = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    assert parse({**tree, "trusted_pickles": ["ab" * 32]}).trusted_pickles == ("ab" * 32,)
    with pytest.raises(UserError, match="trusted_pickles: found 'AB12'; a sha256 is 64 hexadecimal digits"):
        parse({**tree, "trusted_pickles": ["AB12"]})
