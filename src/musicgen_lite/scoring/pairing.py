"""What belongs together: ids are checked, never lined up by position, and wrong partners are drawn by seed."""

from collections.abc import Iterable, Sequence

import numpy as np

from musicgen_lite.errors import UserError


def check_unique(ids: Sequence[str], what: str, least: int = 2) -> None:
    """Raise UserError naming a duplicate id, or too few of them for a score."""
    seen: set[str] = set()
    for item in ids:
        if item in seen:
            raise UserError(f"{what}: the id {item!r} occurs twice; each clip is scored once")
        seen.add(item)
    if len(ids) < least:
        raise UserError(f"{what}: {len(ids)} clip(s); scores need at least {least}")


def check_same(expected: Iterable[str], found: Iterable[str], what: str) -> None:
    """Raise UserError naming ids that are missing from `found` or that nobody expected."""
    wanted, given = set(expected), set(found)
    for title, ids in (("no entry for", wanted - given), ("an unexpected entry for", given - wanted)):
        if ids:
            first = ", ".join(repr(item) for item in sorted(ids)[:3])
            raise UserError(f"{what}: {title} {len(ids)} id(s), such as {first}; run `dvc repro` to make both anew")


def derangement(n: int, seed: int) -> np.ndarray:
    """A random permutation `[n]` of one cycle: position i is paired with another position, never with itself."""
    if n < 2:
        raise UserError(f"{n} clip: a shuffled pairing needs at least 2")
    order = np.random.default_rng(seed).permutation(n)
    partner = np.empty(n, dtype=np.int64)
    partner[order] = np.roll(order, -1)
    return partner
