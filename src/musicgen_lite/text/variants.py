"""Text variants of a clip: its caption, its list of aspects, both, or the list in another order.

Training samples one each time that it sees a clip; their embeddings are computed once and cached. The merging of captions with tags
follows MusicGen (Copet et al. 2023, arXiv:2306.05284), which also drops words at random: cached
embeddings rule that out, several orders of the list replace it.
"""

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

SHUFFLES = 4
# Suffixes of the clip's id in the keys of a variant's embeddings. The caption's key is the id itself.
SUFFIXES: dict[str, tuple[str, ...]] = {
    "caption": ("",),
    "aspects": ("/aspects",),
    "both": ("/both",),
    "shuffled": tuple(f"/shuffled-{number}" for number in range(SHUFFLES)),
}


@dataclass(frozen=True)
class TextVariant:
    """One text of a clip: which `variant` it is, and the key of its embeddings."""

    key: str
    variant: str
    text: str


def text_variants(clip_id: str, caption: str, aspects: Sequence[str], variants: Iterable[str]) -> Iterator[TextVariant]:
    """The texts of one clip. Of a clip without aspects every variant is the caption."""
    for variant in variants:
        for number, suffix in enumerate(SUFFIXES[variant]):
            words = list(aspects)
            if variant == "shuffled":
                random.Random(f"{clip_id} {number}").shuffle(words)
            listed = ", ".join(words)
            text = {"caption": caption, "both": f"{caption} {listed}"}.get(variant, listed) if words else caption
            yield TextVariant(clip_id + suffix, variant, text)


def digest(text: str) -> str:
    """Identifies equal texts, however their vectors were rounded."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
