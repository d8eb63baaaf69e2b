"""A small random MusicGen and a corpus of its codec, to fine-tune the one on the other."""

from pathlib import Path
from typing import Any

import numpy as np

from musicgen_lite import codec, text
from musicgen_lite.params import Params
from tests.support import musicgen_checkpoint
from tests.support.corpora import tiny_params, write_store

FRAMES, MAX_TEXT = 6, 16
CAPTIONS = {
    "t0": "A fast techno beat.", "t1": "A relaxing piano melody with rain sounds.", "t2": "Heavy metal guitar riff.",
    "t3": "A calm piano.", "t4": "Loud drums.", "t5": "A synth lead.", "t6": "Strings.",
    "t7": "A funky bass.", "v0": "Slow.",
}  # fmt: skip
TARGETS = ["attention.qkv", "attention.out", "cross.q", "cross.kv", "cross.out", "up", "down"]


def checkpoint(folder: Path, **sizes: Any) -> Path:
    """A directory as transformers writes one, of a size that learns a few clips by heart."""
    decoder = {"hidden_size": 64, "ffn_dim": 256, **sizes}
    return musicgen_checkpoint.save(folder, musicgen_checkpoint.build(**decoder))


def write_corpus(directory: Path, **changes: Any) -> tuple[Path, Path]:
    """Random codes of the shipped codec and texts of the shipped encoder; `changes` of what the stores say of the codec."""
    coder, encoder = codec.load("embedded", num_codebooks=4), text.load("embedded")
    meta = {
        "name": coder.name, "fingerprint": coder.fingerprint, "codebook_size": coder.codebook_size,
        "num_codebooks": 4, "frame_rate": coder.frame_rate, "rate": coder.rate,
    }  # fmt: skip
    rng = np.random.default_rng(0)
    codes = {key: rng.integers(0, coder.codebook_size, (FRAMES, 4)) for key in CAPTIONS}
    states = dict(zip(CAPTIONS, encoder.encode(list(CAPTIONS.values()), MAX_TEXT), strict=True))
    for kind in ("target", "prompt"):
        write_store(directory / "tokens" / kind, codes, "uint16", meta | changes)
    meta = {
        "name": encoder.name, "fingerprint": encoder.fingerprint, "dim": encoder.dim, "max_tokens": MAX_TEXT,
        "variants": {"caption": [""]},
    }  # fmt: skip
    write_store(directory / "text", states, "float16", meta)
    return directory / "tokens", directory / "text"


def params(init: Path | str, rank: int = 0, dropout_text: float = 0.1, **train: Any) -> Params:
    """Parameters that train on from `init`, whole or with LoRA."""
    lora = {"rank": rank, "alpha": 16.0, "targets": TARGETS, "dropout": 0.0}
    chosen = tiny_params("musicgen", init=str(init), **{"lora": lora, "learning_rate": 0.01, **train})
    model = chosen.model.model_copy(update={"dropout_text": dropout_text})
    text = chosen.text.model_copy(update={"max_tokens": MAX_TEXT})
    return chosen.model_copy(update={"model": model, "text": text})
