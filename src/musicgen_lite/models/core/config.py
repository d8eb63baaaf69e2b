"""The typed description of a language model; it travels inside the model's file."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from musicgen_lite import patterns

TYPES = ("a", "b", "musicgen")
POSITIONS = ("sinusoidal", "rotary", "learned")


@dataclass(frozen=True)
class ModelConfig:
    """Everything needed to build a model and to know which codec and text encoder it belongs to.

    ValueError where the sizes do not fit together.
    """

    type: str  # "a": prefix language model; "b": cross-attention over text and an audio prompt; "musicgen": MusicGen's own
    pattern: str  # a name in patterns.PATTERNS
    codebook_size: int  # K; the special id is K
    num_codebooks: int  # N_q
    text_dim: int  # width of the text encoder's embeddings
    d_model: int
    layers: int
    heads: int
    max_frames: int  # the longest clip the model is trained on
    max_text: int  # the longest caption in tokens
    max_prompt_frames: int  # the longest audio prompt; read by Model B alone
    frame_rate: float  # frames per second
    rate: int  # samples per second of the codec's audio
    codec: str  # fingerprint
    text: str  # fingerprint
    dropout: float = 0.0
    positions: str = "sinusoidal"  # one of POSITIONS
    pointer_dim: int = 0  # width of the pointer head's queries and keys; 0: no pointer head
    beat: bool = False  # whether each step is told where in the bar it stands

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise ValueError(f"type: found {self.type!r}; allowed: {', '.join(TYPES)}")
        if self.positions not in POSITIONS:
            raise ValueError(f"positions: found {self.positions!r}; allowed: {', '.join(POSITIONS)}")
        if self.type == "musicgen" and self.positions == "rotary":
            raise ValueError("positions: found 'rotary'; MusicGen adds its positions: sinusoidal or learned")
        if self.type == "musicgen" and self.beat:
            raise ValueError("beat: found True; MusicGen is told no beat: False")
        patterns.get(self.pattern)
        if self.d_model % (2 * self.heads):
            raise ValueError(f"d_model ({self.d_model}) must be an even multiple of heads ({self.heads})")
        for name in ("codebook_size", "num_codebooks", "text_dim", "layers", "heads", "max_frames", "max_text"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: found {getattr(self, name)}; it must be at least 1")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """The inverse of `to_dict`; ValueError names missing and unknown keys. A file may lack what has a default."""
        fields = dataclasses.fields(cls)
        missing = {field.name for field in fields if field.default is dataclasses.MISSING} - set(values)
        unknown = set(values) - {field.name for field in fields}
        if missing or unknown:
            raise ValueError(f"missing keys: {sorted(missing) or 'none'}; unknown keys: {sorted(unknown) or 'none'}")
        return cls(**values)
