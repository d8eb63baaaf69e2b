"""The backend of the `encodec` package: where its weights come from, and what is refused by name."""

import hashlib
import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from musicgen_lite import codec
from musicgen_lite.codec import encodec_package
from musicgen_lite.errors import UserError
from tests.support.server import Server


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torch would keep the package's checkpoint: an empty place."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints" / encodec_package.FILE


@pytest.fixture(scope="module")
def checkpoint() -> bytes:
    """A state of the package's 24 kHz model, random but with codebooks that are filled."""
    encodec = pytest.importorskip("encodec")
    model = encodec.EncodecModel.encodec_model_24khz(pretrained=False)
    for layer in model.quantizer.vq.layers:
        layer.codebook.normal_()
    return saved(model.state_dict())


def saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def test_without_the_package_the_command_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "encodec", None)
    message = r"codec\.name 'encodec_24khz' needs the package encodec.*pip install \"musicgen-lite\[encodec\]\""
    with pytest.raises(UserError, match=message):
        codec.load("encodec_24khz", num_codebooks=4)


def test_the_stereo_model_is_refused_with_what_to_use_instead() -> None:
    with pytest.raises(UserError, match=r"codec\.name 'encodec_48khz': a stereo codec.*use embedded.*encodec_24khz"):
        codec.load("encodec_48khz", num_codebooks=4)


@pytest.mark.slow
def test_its_own_checkpoint_is_fetched_once_and_must_be_the_one_it_names(
    cache: Path, checkpoint: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    import encodec

    monkeypatch.setattr(encodec_package, "DIGEST", hashlib.sha256(checkpoint).hexdigest()[:8])
    sent = checkpoint + b"!"
    with Server(lambda name: sent) as server:
        monkeypatch.setattr(encodec.model, "ROOT_URL", server.url + "/")
        with pytest.raises(UserError, match=r"'encodec_24khz' is not at .*could not be fetched \(invalid hash value"):
            codec.load("encodec_24khz", num_codebooks=4)
        assert not cache.exists()
        sent = checkpoint
        asked = server.requests.total()
        loaded = codec.load("encodec_24khz", num_codebooks=4)
        assert server.requests.total() > asked
        again = codec.load("encodec_24khz", num_codebooks=8)
        assert server.requests.total() == asked + 2
    assert (loaded.name, loaded.num_codebooks, again.num_codebooks) == ("encodec_24khz", 4, 8)
    # What lies in the cache is checked each time.
    cache.write_bytes(checkpoint + b"!")
    with pytest.raises(UserError, match=r"a pickle, which can run any code.*codec\.name"):
        codec.load("encodec_24khz", num_codebooks=4)


def test_without_a_network_its_own_checkpoint_is_refused_with_where_to_put_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encodec = pytest.importorskip("encodec")
    monkeypatch.setattr(encodec.model, "ROOT_URL", "http://127.0.0.1:9/")  # nothing listens there
    with pytest.raises(UserError, match=rf"could not be fetched .*put {re.escape(encodec_package.FILE)} there"):
        codec.load("encodec_24khz", num_codebooks=4)


def test_a_path_is_loaded_only_with_its_sha256_and_only_as_the_24_khz_model(tmp_path: Path) -> None:
    pytest.importorskip("encodec")
    place = tmp_path / "other.th"
    with pytest.raises(UserError, match=r"codec\.name: there is no file .*other\.th"):
        codec.load(str(place), num_codebooks=4)
    place.write_bytes(saved({"encoder.model.0.conv.conv.bias": torch.zeros(32)}))
    digest = hashlib.sha256(place.read_bytes()).hexdigest()
    with pytest.raises(UserError, match=rf"other\.th: a pickle.*{digest}, which trusted_pickles does not hold"):
        codec.load(str(place), num_codebooks=4, trusted=["0" * 64])
    with pytest.raises(UserError, match=r"other\.th: not a whole checkpoint of the package's 24 kHz model"):
        codec.load(str(place), num_codebooks=4, trusted=[digest])
    place.write_bytes(saved({"run": print}))
    digest = hashlib.sha256(place.read_bytes()).hexdigest()
    with pytest.raises(UserError, match=r"other\.th: not a whole checkpoint"):
        codec.load(str(place), num_codebooks=4, trusted=[digest])
