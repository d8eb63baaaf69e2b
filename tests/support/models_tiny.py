"""Small models and conditions for tests of models, generation, and whatever needs one."""

from dataclasses import replace
from typing import Any

import torch

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
