"""What must hold on a GPU: in float32 it computes what a CPU does."""

import copy
from typing import Any

import torch

from musicgen_lite import models
from musicgen_lite.generation import Sampling, generate, prepare
from musicgen_lite.generation.static import StaticDecoder
from musicgen_lite.models import Conditions, ModelConfig

TOLERANCE = 1e-3  # of a logit
KINDS = [(kind, pattern) for kind in "ab" for pattern in ("interleaved", "delay", "parallel")] + [("musicgen", "delay")]
FRAMES, ITEMS = 40, 3


def model_of(kind: str, pattern: str) -> models.LanguageModel:
    """A small model with all of its parts and seeded random weights, large enough that logits differ."""
    torch.manual_seed(0)
    parts: dict[str, Any] = {} if kind == "musicgen" else {"positions": "rotary", "pointer_dim": 16, "beat": True}
    config = ModelConfig(
        type=kind, pattern=pattern, codebook_size=64, num_codebooks=4, text_dim=16, d_model=64, layers=2, heads=2,
        max_frames=FRAMES, max_text=8, max_prompt_frames=7, frame_rate=50.0, rate=16000, codec="-", text="-", **parts,
    )  # fmt: skip
    model = models.build(config).eval()
    with torch.no_grad():
        model.head.mul_(8)
    return model


def equality(device: str) -> tuple[list[str], list[str]]:
    """Faults, and the lines that tell for each model how far logits differ and how many codes agree."""
    faults, lines = [], []
    for kind, pattern in KINDS:
        model = model_of(kind, pattern)
        given = Conditions.from_texts(
            [torch.randn(3 + row, 16) for row in range(ITEMS)],
            torch.randint(0, 64, (ITEMS, 4, 7)) if kind == "b" else None,
            torch.tensor([[120.0, 0.1]] * ITEMS),
        )
        there, sampling = copy.deepcopy(model).to(device), Sampling(top_k=20, guidance=2.0)
        codes = generate(model, given, FRAMES, sampling, range(ITEMS), decoder=prepare(model))
        decoder = StaticDecoder(there, "float32", graphs=device == "cuda")
        found = generate(there, given.to(device), FRAMES, sampling, range(ITEMS), decoder=decoder).cpu()
        with torch.no_grad():
            apart = float((model(codes, given) - there(codes.to(device), given.to(device)).cpu()).abs().max())
        same = float((codes == found).float().mean())
        name = f"{kind}, {pattern}"
        lines.append(f"{name}: logits differ by {apart:.1e} at most, {same:.1%} of the codes are the same")
        if not apart < TOLERANCE or same != 1:
            faults.append(f"{name}: on {device} in float32 it computes otherwise than on a CPU ({lines[-1]})")
    return faults, lines
