"""What a clip can be described by: its caption, its list of aspects, both, or the list in another order.

Training draws one each time that it sees a clip; their vectors are made once and kept. The merging of captions with tags
follows MusicGen (Copet et al. 2023, arXiv:2306.05284), which also drops words at random: cached vectors rule that out,
several orders of the list stand in for it.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

SHUFFLES = 4
# What follows the clip's id in the keys of a variant's vectors. The caption is kept under the id itself.
SUFFIXES: dict[str, tuple[str, ...]] = {
    "caption": ("",),
    "aspects": ("/aspects",),
    "both": ("/both",),
    "shuffled": tuple(f"/shuffled-{number}" for number in range(SHUFFLES)),
}


@dataclass(frozen=True)
class Wording:
    """One text of a clip: which `variant` it is, and the key that its vectors are kept under."""

    key: str
    variant: str
    text: str


def wordings(clip_id: str, caption: str, aspects: Sequence[str], variants: Iterable[str]) -> Iterator[Wording]:
    """The texts of one clip. A clip without aspects has nothing but its caption to say, whatever the variant."""
    for variant in variants:
        for number, suffix in enumerate(SUFFIXES[variant]):
            words = list(aspects)
            if variant == "shuffled":
                random.Random(f"{clip_id} {number}").shuffle(words)
            listed = ", ".join(words)
            text = {"caption": caption, "both": f"{caption} {listed}"}.get(variant, listed) if words else caption
            yield Wording(clip_id + suffix, variant, text)
