"""Where a clip's audio prompt ends and its target begins, also in a clip that is shorter than the others."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from musicgen_lite.io import audio
from musicgen_lite.io.clips import ClipStore

MAX_PROMPT_SHARE = 3 / 8  # of a clip that is shorter than the others
# A clip that rounding made this much shorter still has full length.
ROUNDING_S = 0.01


@dataclass(frozen=True)
class Windows:
    """The prompt and the target of clips, in samples at `rate` Hz.

    A full clip lasts `seconds`: its first `prompt_seconds` are the prompt, the rest is the target. Of a shorter clip at
    most 3/8 are the prompt, and the rest is the target, no longer than that of a full clip.
    target_seconds: the longest target to read; None for all.
    """

    rate: int
    prompt_seconds: float
    seconds: float
    target_seconds: float | None = None

    def of(self, length_s: float) -> tuple[int, int]:
        """Where the prompt and where the target end in a clip of `length_s` seconds."""
        prompt, end = round(self.prompt_seconds * self.rate), round(self.seconds * self.rate)
        longest = end - prompt
        if length_s < self.seconds - ROUNDING_S:
            prompt, end = min(prompt, round(MAX_PROMPT_SHARE * length_s * self.rate)), round(length_s * self.rate)
        if self.target_seconds is not None:
            longest = min(longest, round(self.target_seconds * self.rate))
        return prompt, min(end, prompt + longest)


class ClipWindows:
    """The audio prompt and the target of any clip, as samples at the rate of `windows`."""

    def __init__(self, clips: ClipStore, windows: Windows) -> None:
        self._clips, self._windows, self._rate = clips, windows, windows.rate
        self._whole = windows.of(windows.seconds)

    def _of(self, clip: str) -> tuple[int, int]:
        return self._windows.of(self._clips.seconds(clip))

    def __contains__(self, clip: object) -> bool:
        """Whether there is a clip of this id."""
        return clip in self._clips

    def prompt(self, clip: str) -> tuple[np.ndarray, int]:
        """Samples `[T]` of its prompt, and their rate."""
        return self._read(clip, 0, self._of(clip)[0])

    def target(self, clip: str) -> tuple[np.ndarray, int]:
        """Samples `[T]` of its target, and their rate."""
        return self._read(clip, *self._of(clip))

    def target_length(self, clip: str) -> int:
        """Samples of its target."""
        prompt, end = self._of(clip)
        return end - prompt

    def short(self, ids: Iterable[str]) -> set[str]:
        """The clips whose targets are shorter than that of a full clip."""
        whole = self._whole[1] - self._whole[0]
        return {clip for clip in ids if self.target_length(clip) < whole}

    def short_prompts(self, ids: Iterable[str]) -> set[str]:
        """The clips whose prompts are shorter than that of a full clip."""
        return {clip for clip in ids if self._of(clip)[0] < self._whole[0]}

    def _read(self, clip: str, start: int, end: int) -> tuple[np.ndarray, int]:
        samples, rate_in = self._clips.samples(clip)
        return audio.resample(samples, rate_in, self._rate)[start:end], self._rate
