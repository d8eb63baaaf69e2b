"""LAION's checkpoints by the real laion-clap, without a network, and what is said where something of it is missing."""

import hashlib
import importlib.util
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from musicgen_lite import clap
from musicgen_lite.clap.checkpoint import FFT, KNOWN, read_checkpoint
from musicgen_lite.errors import UserError
from tests.support.laion import SIZES, filled, layout, roberta, save
from tests.support.no_hub import refusal, run

ROOT = Path(__file__).parent.parent.parent
MINI = layout(96, (1, 1), (1, 2), pieces=300, hidden=32, layers=1, inner=64)
installed = pytest.mark.skipif(
    importlib.util.find_spec("laion_clap") is None, reason="laion-clap has no release for this Python"
)


@pytest.fixture(scope="module")
def package() -> Iterator[dict[str, Any]]:
    """What the package and its conversion give for one random checkpoint with feature fusion, and one without."""
    with tempfile.TemporaryDirectory() as folder:
        done = run(Path(folder) / "home", "-m", "tests.support.laion_package", folder)
        assert done.returncode == 0, done.stderr
        yield json.loads(done.stdout)


@installed
@pytest.mark.slow
def test_importing_the_package_waits_for_no_network(package: dict[str, Any]) -> None:
    # Two of the three tokenizers that it asks for at import are not in the cache; each would be waited for.
    assert package["import_s"] < 60


@installed
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unfused", "fused"])
def test_a_checkpoint_gives_the_packages_own_embeddings(package: dict[str, Any], kind: str) -> None:
    found = package[f"HTSAT-tiny {kind}"]
    assert found["as_laid_out"], "the layout that the tests of the conversion build on is not the package's"
    assert found["theirs"] < 1e-6
    assert found["unit"] < 1e-6
    assert found["shape"] == [[5, 512], [1, 512], [1, 512], [3, 512]]
    assert found["origin"]
    assert found["same_without_positions"]
    assert found["batch"] < 1e-6


@installed
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unfused", "fused"])
def test_the_converted_model_gives_the_same(package: dict[str, Any], kind: str) -> None:
    found = package[f"HTSAT-tiny {kind}"]
    assert max(found["converted"].values()) < 1e-5
    # What that would not be small for: other texts and windows, or the feature extractor's default filters.
    assert min(*found["spread"].values(), found["other_filters"]) > 1e-3
    assert found["fingerprint"]


def test_a_checkpoint_of_another_sha256_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"state_dict": Trap()}, tmp_path / "laion.pt")
    with pytest.raises(
        UserError, match=r"laion\.pt: a pickle.*with sha256 [0-9a-f]{64}, which trusted_pickles does not"
    ):
        clap.load(str(tmp_path / "laion.pt"), trusted=["0" * 64])
    assert not (tmp_path / "sprung").exists()


def test_known_checkpoints_need_no_parameter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "music_audioset_epoch_15_esc_90.14.pt" in KNOWN.values()
    assert all(len(digest) == 64 for digest in KNOWN)
    digest = save(tmp_path / "laion.pt", filled(MINI))
    with pytest.raises(UserError, match=digest):
        read_checkpoint(tmp_path / "laion.pt", "score.clap", ())
    monkeypatch.setitem(KNOWN, digest, "laion.pt")
    assert read_checkpoint(tmp_path / "laion.pt", "score.clap", ()).sha256 == digest


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fusion", [False, True])
def test_the_architecture_is_told_by_shapes(tmp_path: Path, size: str, fusion: bool) -> None:
    width = SIZES[size][0]
    shapes = layout(width, (1,), (1,), pieces=300, hidden=32, layers=1, inner=64, fusion=fusion)
    digest = save(tmp_path / "laion.pt", filled(shapes))
    found = read_checkpoint(tmp_path / "laion.pt", "score.clap", [digest])
    assert (found.architecture, found.fusion, found.fft) == (size, fusion, 1024)
    assert not any("position_ids" in name or name.startswith("module.") for name in found.tensors)
    longer = {FFT: torch.zeros(769, 1, 1536)}
    assert replace(found, tensors={**found.tensors, **longer}).architecture == f"{size}-win-1536"


def test_another_width_is_none_of_the_packages(tmp_path: Path) -> None:
    digest = save(tmp_path / "laion.pt", filled(layout(16, (1,), (1,), pieces=300, hidden=32, layers=1, inner=64)))
    with pytest.raises(UserError, match="16 channels; laion-clap knows HTSAT-tiny 96, HTSAT-base 128, HTSAT-large 256"):
        _ = read_checkpoint(tmp_path / "laion.pt", "score.clap", [digest]).architecture


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (
            {"state_dict": {"audio_branch.conv_block1.conv1.weight": torch.zeros(1)}},
            "HTSAT for audio and RoBERTa for text",
        ),
        ([1, 2, 3], "none of its 0 tensors"),
        ({"state_dict": 3}, "none of its 0 tensors"),
        (b"not a pickle", "cannot be unpickled"),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path: Path, held: Any, reason: str) -> None:
    path = tmp_path / "laion.pt"
    if isinstance(held, bytes):
        path.write_bytes(held)
    else:
        torch.save(held, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(UserError, match=rf"laion\.pt: .*{reason}"):
        clap.load(str(path), trusted=[digest])
    with pytest.raises(UserError, match=r"score\.judge: there is no file /no/laion\.pt"):
        clap.load("/no/laion.pt", parameter="score.judge")


def test_without_the_package_the_error_says_how_to_do_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A directory of that name is taken before the hub is.
    monkeypatch.chdir(roberta(tmp_path / "roberta-base", 32, 2).parent)
    pieces = len(json.loads((tmp_path / "roberta-base" / "vocab.json").read_text()))
    digest = save(Path("laion.pt"), filled({**MINI, "text_branch.embeddings.word_embeddings.weight": (pieces, 32)}))
    monkeypatch.setitem(sys.modules, "laion_clap", None)
    command = f"musicgen-lite convert-clap laion.pt DIRECTORY --sha256 {digest}"
    with pytest.raises(
        UserError, match=rf"score\.clap: laion\.pt needs the package laion-clap.*\[laion\].*make env.*{command}"
    ):
        clap.load("laion.pt", trusted=[digest])
    other = save(Path("other.pt"), filled(MINI))
    with pytest.raises(UserError, match=rf"other\.pt: its text encoder has 300 tokens, the tokenizer .* has {pieces}"):
        clap.load("other.pt", trusted=[other])


@pytest.mark.slow
def test_without_roberta_and_a_network_the_error_does_not_wait_for_it(tmp_path: Path) -> None:
    digest = save(tmp_path / "laion.pt", filled(MINI))
    imports = "import torch, transformers, huggingface_hub; from musicgen_lite import clap"
    call = f"clap.load({str(tmp_path / 'laion.pt')!r}, trusted=[{digest!r}])"
    took, message = refusal(tmp_path / "home", imports, call)
    assert "its text encoder: 'roberta-base' is not a directory, and the model hub did not give it" in message
    assert took < 60.0  # the client of the hub would ask again for longer
