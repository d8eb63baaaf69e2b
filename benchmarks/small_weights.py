"""What small formats cost in likelihood: NLL of the test clips by the steps that generate, for each format of weights and caches.

`python -m benchmarks.small_weights` takes minutes on a trained model and its tokens: the decoder is given each clip's own
codes, step by step, and its logits score the next ones.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F

from musicgen_lite import models
from musicgen_lite.generation import prepare
from musicgen_lite.generation.decode import Decoder
from musicgen_lite.models import LanguageModel
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.dataset import Batch, TokenDataset
from musicgen_lite.training.sampler import ClipLoader

FORMATS = tuple(
    (weights, kv_cache) for weights in ("float32", "bfloat16", "int8") for kv_cache in ("float32", "bfloat16")
)


@torch.no_grad()
def nll(model: LanguageModel, decoder: Decoder, batch: Batch) -> tuple[float, int]:
    """The sum of NLL over the batch's cells, in nats, and their number."""
    codes, special = batch.codes, model.config.codebook_size
    layout = model.pattern.layout(codes.shape[2], codes.shape[1], codes.device)
    sequence = layout.build(codes, special)
    state = decoder.start(batch.conditions.pad_text(model.config.max_text), codes.shape[2], sequence[:, :0])
    cells, total, number = sequence.new_full((len(codes), layout.cells), special), 0.0, 0
    for step in range(layout.steps):
        logits, cells = decoder.logits(cells, state), sequence[:, step]
        known = cells < special
        total += F.cross_entropy(logits[known].double(), cells[known], reduction="sum").item()
        number += int(known.sum())
    return total, number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("data/model/model.safetensors"))
    parser.add_argument("--tokens", type=Path, default=Path("data/tokens"))
    parser.add_argument("--text", type=Path, default=Path("data/text"))
    parser.add_argument("--clips", type=int, default=128)
    given = parser.parse_args()
    corpus = Corpus(given.tokens, given.text)
    model, _ = models.load(given.model)
    data = TokenDataset(corpus, model.config.max_frames, 0, 0.0, 0.0 if model.config.type == "b" else None)
    batches = list(ClipLoader(data, corpus.clips("test")[: given.clips], 32))
    for weights, kv_cache in FORMATS:
        decoder = prepare(model, weights, kv_cache)
        totals, numbers = zip(*(nll(model, decoder, batch) for batch in batches), strict=True)
        print(f"{weights}, keys and values {kv_cache}: NLL {sum(totals) / sum(numbers):.4f} nats a code", flush=True)


if __name__ == "__main__":
    main()
