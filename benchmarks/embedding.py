"""How fast captions are embedded, and how far a caption's stored vectors depend on what is embedded beside it.

`python -m benchmarks.embedding` takes a few seconds on one thread with the shipped encoder; `--size t5-base` (random weights
of that size) some minutes. Captions are composed, or those of `--table`, a MusicCaps table; `--tokenizer` is another
tokenizer's tokenizer.json. Each caption goes through alone, in batches of equal lengths as the embed stage makes them, and in
batches in stored order, padded and masked; the half-precision values that differ from those of the caption alone are counted.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import T5Config, T5EncoderModel

from musicgen_lite import text
from musicgen_lite.pretrained import Source, load_tokenizer, shipped
from musicgen_lite.sources import musiccaps, synthetic
from musicgen_lite.text.hub import T5TextEncoder

BATCH = 32
SIZES: dict[str, dict[str, Any]] = {
    "t5-small": {"d_model": 512, "d_ff": 2048, "num_layers": 6, "num_heads": 8},
    "t5-base": {"d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
    "flan-t5-base": {
        "d_model": 768,
        "d_ff": 2048,
        "num_layers": 12,
        "num_heads": 12,
        "feed_forward_proj": "gated-gelu",
    },
    "t5-large": {"d_model": 1024, "d_ff": 4096, "num_layers": 24, "num_heads": 16},
}


def random_model(size: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    return T5EncoderModel(T5Config(vocab_size=32128, d_kv=64, **size)).eval()


def tokenizer(file: Path | None) -> Any:
    """The shipped tokenizer, or that of a tokenizer.json."""
    if file is None:
        return load_tokenizer(Source("text.name", "embedded", shipped.path("text")))
    with tempfile.TemporaryDirectory() as name:
        T5Config().save_pretrained(name)
        shutil.copy(file, Path(name) / "tokenizer.json")
        return load_tokenizer(Source("text.name", str(file), Path(name)))


def captions(table: Path | None, count: int) -> list[str]:
    if table is not None:
        return [entry.caption for entry in musiccaps.read(table, lambda *_: None)][:count]
    return [synthetic.describe(synthetic.compose(seed), seed)[0] for seed in range(10_000_000, 10_000_000 + count)]


def padded(model: Any, pieces: Any, texts: Sequence[str], max_tokens: int) -> list[np.ndarray]:
    """The common way: everything filled up to the longest, and masked."""
    tokens = pieces(list(texts), truncation=True, max_length=max_tokens, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
    return [states[row, :length].numpy() for row, length in enumerate(tokens.attention_mask.sum(dim=1).tolist())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["embedded", *SIZES], default="embedded")
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--captions", type=int, default=512)
    parser.add_argument("--max-tokens", type=int, default=192)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    pieces = tokenizer(given.tokenizer)
    if given.size == "embedded":
        model: Any = T5EncoderModel.from_pretrained(shipped.path("text"), dtype=torch.float32).eval()
    else:
        model = random_model(SIZES[given.size])
    encoder = T5TextEncoder(model, pieces)
    texts = captions(given.table, given.captions)
    lengths = [min(length, given.max_tokens) for length in encoder.num_tokens(texts)]
    in_order = [list(range(start, min(start + BATCH, len(texts)))) for start in range(0, len(texts), BATCH)]
    alone: list[np.ndarray] = []
    print(f"{len(texts)} captions of {np.mean(lengths):.0f} tokens, at most {max(lengths)}; {given.threads} threads")
    print(f"{'':24} {'captions/s':>10} {'CPU s':>7} {'captions alike':>15} {'values that differ':>19}")
    for label, batches, plain in (
        ("one by one", [[number] for number in range(len(texts))], False),
        ("equal lengths together", text.batches(lengths, BATCH), False),
        ("as they come, padded", in_order, True),
    ):
        found: list[np.ndarray] = [np.empty(0)] * len(texts)
        start, cpu = time.perf_counter(), time.process_time()
        for batch in batches:
            words = [texts[number] for number in batch]
            made = padded(model, pieces, words, given.max_tokens) if plain else encoder.encode(words, given.max_tokens)
            for number, states in zip(batch, made, strict=True):
                found[number] = states.astype(np.float16)
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        alone = alone or found
        alike = sum(np.array_equal(one, other) for one, other in zip(alone, found, strict=True))
        differ = sum(int((one != other).sum()) for one, other in zip(alone, found, strict=True))
        share = differ / sum(one.size for one in alone)
        print(f"{label:24} {len(texts) / wall:10.1f} {cpu:7.1f} {alike:15} {share:19.1e}", flush=True)


if __name__ == "__main__":
    main()
