"""What holding the weights as bfloat16 or int8 costs in likelihood: NLL of the test clips by the rounded model.

`python -m benchmarks.small_weights` takes a minute on a trained model and its tokens. The kernels compute in float32, so a
model whose weights are rounded in the same way gives their likelihoods.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from musicgen_lite import models
from musicgen_lite.device import WEIGHTS
from musicgen_lite.generation.cpu import pack
from musicgen_lite.models import LanguageModel
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.dataset import TokenDataset
from musicgen_lite.training.module import evaluate
from musicgen_lite.training.sampler import ClipLoader


def rounded(weight: Tensor, stored: str) -> Tensor:
    """The matrix `[N, K]` that its packed form stands for."""
    packed, scale = (torch.from_numpy(part) for part in pack(weight, stored))
    values = packed.view(torch.bfloat16) if stored == "bfloat16" else packed
    return values.float() * scale[:, None]


@torch.no_grad()
def round_model(model: LanguageModel, stored: str) -> None:
    """Round what the decoder packs: the linear layers of the blocks, but those that run once, and the heads."""
    for name, module in model.blocks.named_modules():
        if isinstance(module, nn.Linear) and not name.endswith("cross.kv"):
            module.weight.copy_(rounded(module.weight, stored))
    for head in model.head:
        head.copy_(rounded(head, stored))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("data/model/model.safetensors"))
    parser.add_argument("--tokens", type=Path, default=Path("data/tokens"))
    parser.add_argument("--text", type=Path, default=Path("data/text"))
    given = parser.parse_args()
    corpus = Corpus(given.tokens, given.text)
    for stored in WEIGHTS["cpu"]:
        model, _ = models.load(given.model)
        round_model(model, stored)
        prompted = 0.0 if model.config.type == "b" else None
        data = TokenDataset(corpus, model.config.max_frames, 0, 0.0, prompted)
        scores = evaluate(model, ClipLoader(data, corpus.clips("test"), 8), corpus.frame_rate, torch.device("cpu"))
        print(f"{stored}: NLL {scores['val_loss']:.4f} nats per token", flush=True)


if __name__ == "__main__":
    main()
