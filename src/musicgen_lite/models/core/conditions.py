"""What a model is conditioned on: captions as embeddings, audio prompts as codes, and the beat as two numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Conditions:
    """A batch of conditions. Rows without text or without prompt fall back on a learned null token, without beat on zeros.

    text: `[B, L, D_t]` float32, anything where masked; text_mask: `[B, L]`, True at real tokens;
    prompt: `[B, N_q, P]` int64 codes of the audio prompt, or None (Model A has none); a shorter one is padded with the
    special id K, which is masked;
    beat: `[B, 2]` float32, the tempo in BPM and the seconds from the first frame of the target, or of what is continued, to
    the first beat of any bar (negative before it), anything where there is none; or None;
    has_text, has_prompt, has_beat: `[B]` bool.
    """

    text: Tensor
    text_mask: Tensor
    prompt: Tensor | None
    has_text: Tensor
    has_prompt: Tensor
    beat: Tensor | None
    has_beat: Tensor

    def __len__(self) -> int:
        return len(self.text)

    def to(self, device: torch.device | str) -> "Conditions":
        return Conditions(*(x if x is None else x.to(device, non_blocking=True) for x in self._fields()))  # type: ignore[arg-type]

    def pin_memory(self) -> "Conditions":
        """The conditions in memory that a GPU reads by itself."""
        return Conditions(*(x if x is None else x.pin_memory() for x in self._fields()))  # type: ignore[arg-type]

    def __getitem__(self, rows: slice | Tensor) -> "Conditions":
        """Some of the rows."""
        return Conditions(*(x if x is None else x[rows] for x in self._fields()))  # type: ignore[arg-type]

    def repeat_interleave(self, n: int) -> "Conditions":
        """Each row `n` times, copies next to each other: the candidates of a prompt are neighbours."""
        return Conditions(*(x if x is None else x.repeat_interleave(n, dim=0) for x in self._fields()))  # type: ignore[arg-type]

    def without_text(self) -> "Conditions":
        return replace(self, has_text=torch.zeros_like(self.has_text))

    def without_prompt(self) -> "Conditions":
        return replace(self, has_prompt=torch.zeros_like(self.has_prompt))

    def without_beat(self) -> "Conditions":
        return replace(self, has_beat=torch.zeros_like(self.has_beat))

    def later(self, seconds: float) -> "Conditions":
        """The conditions of what begins that many seconds later."""
        if self.beat is None:
            return self
        return replace(self, beat=self.beat - self.beat.new_tensor([0.0, seconds]))

    def pad_text(self, length: int) -> "Conditions":
        """Masked padding up to `length` tokens; ValueError if the text is longer."""
        missing = length - self.text.shape[1]
        if missing < 0:
            raise ValueError(f"text of {self.text.shape[1]} tokens does not fit into {length}")
        return replace(self, text=F.pad(self.text, (0, 0, 0, missing)), text_mask=F.pad(self.text_mask, (0, missing)))

    @classmethod
    def from_texts(
        cls, texts: Sequence[Tensor], prompt: Tensor | None = None, beats: Tensor | None = None
    ) -> "Conditions":
        """Rows of text embeddings `[L_i, D_t]`, padded to the longest; every row has its text, and its prompt if given.

        An embedding of no tokens counts as no text; beats `[B, 2]` with a NaN count as none.
        """
        lengths = torch.tensor([len(text) for text in texts])
        longest = max(1, int(lengths.max()))
        padded = torch.stack([F.pad(text.float(), (0, 0, 0, longest - len(text))) for text in texts])
        has_prompt = torch.full((len(texts),), prompt is not None)
        has_beat = torch.zeros(len(texts), dtype=torch.bool) if beats is None else beats.isfinite().all(dim=1)
        beats = None if beats is None else beats.float().masked_fill(~has_beat[:, None], 0.0)
        mask = torch.arange(longest) < lengths[:, None]
        return cls(padded, mask, prompt, lengths > 0, has_prompt, beats, has_beat)

    @classmethod
    def from_arrays(
        cls,
        texts: Sequence[np.ndarray],
        prompts: Sequence[np.ndarray] = (),
        special: int = 0,
        beats: Sequence[tuple[float, float]] = (),
    ) -> "Conditions":
        """Rows of stored text embeddings `[L_i, D_t]` and, where given, of audio prompts' codes `[N_q, P_i]` and beats.

        special: the id K, with which shorter prompts are padded; beats: tempo and first beat, NaN where there is none.
        """
        prompt = stack_prompts(prompts, special) if prompts else None
        given = torch.tensor(beats, dtype=torch.float64) if len(beats) else None
        return cls.from_texts([torch.from_numpy(text.astype(np.float32)) for text in texts], prompt, given)

    @staticmethod
    def cat(batches: Sequence["Conditions"]) -> "Conditions":
        """The rows of several batches in one; shorter texts are padded, rows without a prompt or a beat get a masked one."""
        longest = max(batch.text.shape[1] for batch in batches)
        padded = [batch.pad_text(longest) for batch in batches]
        shapes = {batch.prompt.shape[1:] for batch in batches if batch.prompt is not None}
        if len(shapes) > 1:
            raise ValueError(f"audio prompts of different shapes: {sorted(map(tuple, shapes))}")
        prompt = None
        if shapes:
            shape = shapes.pop()
            prompt = torch.cat(
                [
                    b.text_mask.new_zeros((len(b), *shape), dtype=torch.int64) if b.prompt is None else b.prompt
                    for b in batches
                ]
            )
        has_prompt = [b.has_prompt if b.prompt is not None else torch.zeros_like(b.has_prompt) for b in batches]
        beat = None
        if any(b.beat is not None for b in batches):
            beat = torch.cat([b.text.new_zeros((len(b), 2)) if b.beat is None else b.beat for b in batches])
        return Conditions(
            torch.cat([b.text for b in padded]),
            torch.cat([b.text_mask for b in padded]),
            prompt,
            torch.cat([b.has_text for b in batches]),
            torch.cat(has_prompt),
            beat,
            torch.cat([b.has_beat for b in batches]),
        )

    def _fields(self) -> list[Tensor | None]:
        return [getattr(self, field.name) for field in fields(self)]


def stack_prompts(prompts: Sequence[np.ndarray], special: int) -> Tensor:
    """Audio prompts `[N_q, P_i]` as int64 `[B, N_q, P]`, shorter ones padded with the `special` id, which is masked."""
    longest = max(prompt.shape[1] for prompt in prompts)
    padded = [
        np.pad(prompt.astype(np.int64), ((0, 0), (0, longest - prompt.shape[1])), constant_values=special)
        for prompt in prompts
    ]
    return torch.from_numpy(np.stack(padded))
