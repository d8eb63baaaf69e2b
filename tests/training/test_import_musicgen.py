"""A published model takes the place of a trained one, where it belongs to the corpus."""

from pathlib import Path

import numpy as np
import pytest
import torch

from musicgen_lite import codec, models, text
from musicgen_lite.errors import UserError
from musicgen_lite.models import Conditions
from musicgen_lite.models.core.loss import cell_nll
from musicgen_lite.params import Params
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.import_musicgen import import_pretrained
from tests.support import musicgen_checkpoint
from tests.support.corpora import tiny_params, write_store

pytestmark = pytest.mark.slow
CAPTIONS = {"t0": "Slow.", "v0": "A fast techno beat.", "v1": "A relaxing piano melody with rain sounds."}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return musicgen_checkpoint.save(tmp_path_factory.mktemp("musicgen"), musicgen_checkpoint.build())


def params(name: Path, crop_seconds: float = 1.0) -> Params:
    chosen = tiny_params("musicgen")
    model = chosen.model.model_copy(update={"musicgen": chosen.model.musicgen.model_copy(update={"name": str(name)})})
    train = chosen.train.model_copy(update={"crop_seconds": crop_seconds})
    return chosen.model_copy(update={"model": model, "train": train})


def write_stores(directory: Path, **changes: str) -> tuple[Path, Path]:
    """Random codes of the shipped codec and texts of the shipped encoder, or of others as the stores have it."""
    coder, encoder = codec.load("embedded", num_codebooks=4), text.load("embedded")
    meta = {
        "name": coder.name, "fingerprint": changes.get("codec", coder.fingerprint), "codebook_size": coder.codebook_size,
        "num_codebooks": 4, "frame_rate": coder.frame_rate, "rate": coder.rate,
    }  # fmt: skip
    rng = np.random.default_rng(0)
    codes = {key: rng.integers(0, coder.codebook_size, (60, 4)) for key in CAPTIONS}
    states = dict(zip(CAPTIONS, encoder.encode(list(CAPTIONS.values()), 16), strict=True))
    for kind in ("target", "prompt"):
        write_store(directory / "tokens" / kind, codes, "uint16", meta)
    meta = {
        "name": encoder.name, "fingerprint": changes.get("text", encoder.fingerprint), "dim": encoder.dim,
        "max_tokens": 16, "variants": {"caption": [""]},
    }  # fmt: skip
    write_store(directory / "text", states, "float16", meta)
    return directory / "tokens", directory / "text"


def test_the_file_and_the_curve_are_those_of_the_published_weights(folder: Path, tmp_path: Path) -> None:
    tokens, texts = write_stores(tmp_path)
    result = import_pretrained(params(folder), str(folder), Corpus(tokens, texts), tmp_path / "model.safetensors")
    model, extra = models.load(tmp_path / "model.safetensors")
    assert (model.config.type, model.config.pattern, model.config.max_text) == ("musicgen", "delay", 16)
    assert extra["names"] == {"codec": "embedded", "text": "embedded"}
    assert result.published == str(folder)
    assert result.parameters == sum(parameter.numel() for parameter in model.parameters())

    # By hand: a crop of 1 s at 50 Hz, both clips of the validation alone.
    total = 0.0
    for key in ("v0", "v1"):
        codes = torch.from_numpy(np.load(tokens / "target" / "shard-00000.npy").astype(np.int64))
        place = list(CAPTIONS).index(key) * 60
        states = text.load("embedded").encode([CAPTIONS[key]], 16)[0].astype(np.float16).astype(np.float32)
        with torch.no_grad():
            one = codes[place : place + 50].T[None]
            total += float(cell_nll(model(one, Conditions.from_texts([torch.from_numpy(states)])), one).sum())
    assert result.val_loss == pytest.approx(total / (2 * 4 * 50), abs=1e-5)
    assert [(row["step"], row["val_loss"]) for row in result.rows] == [(0, result.val_loss)]


@pytest.mark.parametrize(
    ("what", "remedy"), [("codec", r"codec\.name to {} and codec\.num_codebooks to 4"), ("text", r"text\.name to {}")]
)
def test_another_codec_or_text_encoder_is_refused_with_what_to_set(
    folder: Path, tmp_path: Path, what: str, remedy: str
) -> None:
    stores = write_stores(tmp_path, **{what: "0123456789abcdef"})
    with pytest.raises(UserError, match=rf"model\.musicgen\.name.*0123456789abcdef.*set {remedy.format(folder)}"):
        import_pretrained(params(folder), str(folder), Corpus(*stores), tmp_path / "model.safetensors")
    assert not (tmp_path / "model.safetensors").exists()


def test_clips_longer_than_those_it_was_trained_on_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.crop_seconds: found 31; MusicGen was trained on 30 s"):
        import_pretrained(
            params(folder, 31.0), str(folder), Corpus(*write_stores(tmp_path)), tmp_path / "model.safetensors"
        )
