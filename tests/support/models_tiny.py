"""Small models and conditions for tests of models, generation, and whatever needs one."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from musicgen_lite.generation import prepare
from musicgen_lite.models import Conditions, LanguageModel, ModelConfig, build

KINDS = [(kind, pattern) for kind in "ab" for pattern in ("interleaved", "delay", "parallel")] + [("musicgen", "delay")]
TRAINED = [kind for kind in KINDS if kind[0] != "musicgen"]
# Of these those that are trained also have rotary positions.
VARIANTS = [(*kind, "sinusoidal") for kind in KINDS] + [(*kind, "rotary") for kind in TRAINED]

CONFIG: dict[str, Any] = {
    "type": "a",
    "pattern": "interleaved",
    "codebook_size": 16,
    "num_codebooks": 4,
    "text_dim": 12,
    "d_model": 32,
    "layers": 2,
    "heads": 2,
    "max_frames": 12,
    "max_text": 9,
    "max_prompt_frames": 7,
    "frame_rate": 50.0,
    "rate": 16000,
    "codec": "codec",
    "text": "text",
}


def tiny(kind: str, pattern: str, seed: int = 0, scale: float = 8.0, **changes: Any) -> LanguageModel:
    """A small model in eval mode. Its weights are `scale` times larger than usual, so that everything has an effect."""
    torch.manual_seed(seed)
    model = build(ModelConfig(**{**CONFIG, "type": kind, "pattern": pattern, **changes})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.mul_(scale)
    return model


def conditions(rows: int, kind: str, seed: int = 0) -> Conditions:
    """Captions of different lengths, and for Model B audio prompts."""
    generator = torch.Generator().manual_seed(seed)
    texts = [torch.randn(3 + i % 4, CONFIG["text_dim"], generator=generator) for i in range(rows)]
    prompt = torch.randint(0, CONFIG["codebook_size"], (rows, 4, 7), generator=generator) if kind == "b" else None
    return Conditions.from_texts(texts, prompt)


def with_beats(given: Conditions, first: float = -0.13) -> Conditions:
    """The same with a beat of its own in each row but the second."""
    rows = torch.arange(len(given))
    beat = torch.stack([100.0 + 17 * rows, first + 0.31 * rows], dim=1)
    return replace(given, beat=beat, has_beat=rows != 1)


def random_codes(rows: int, frames: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, CONFIG["codebook_size"], (rows, CONFIG["num_codebooks"], frames), generator=generator)


def cells_in_steps_and_in_one_pass(
    model: LanguageModel, given: Conditions, codes: torch.Tensor, begun: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """The logits `[B, K]` of each cell by the model's own steps, by the decoder's, and by one pass over all codes.

    begun: the number of steps that are given.
    """
    frames = codes.shape[2]
    full, layout = model(codes, given), model.pattern.layout(frames, codes.shape[1])
    sequence = layout.build(codes, CONFIG["codebook_size"])
    states = [model.start(given, frames, sequence[:, :begun] if begun else None) for _ in range(2)]
    cells = sequence[:, begun - 1] if begun else sequence.new_full((len(codes), layout.cells), CONFIG["codebook_size"])
    decoder = prepare(model)
    for step in range(begun, layout.steps):
        slow, fast = model.step(cells, states[0]), decoder.logits(cells, states[1])
        cells = sequence[:, step]
        for slot, codebook, frame in layout.cells_of[step]:
            yield slow[:, slot], fast[:, slot], full[:, codebook, frame]
