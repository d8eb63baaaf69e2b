"""Pairing by id, never by position, and shuffled partners, drawn by seed."""

from collections.abc import Hashable, Iterable, Sequence

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
    """Raise UserError naming ids that are missing from `found` or not expected."""
    wanted, given = set(expected), set(found)
    for title, ids in (("no entry for", wanted - given), ("an unexpected entry for", given - wanted)):
        if ids:
            first = ", ".join(repr(item) for item in sorted(ids)[:3])
            raise UserError(f"{what}: {title} {len(ids)} id(s), such as {first}; run `dvc repro` to make both anew")


def withheld(what: str, count: int) -> str:
    """Why the matching condition cannot be compared with a shuffled one."""
    return f"withheld: all {count} clips share one {what}, so that it cannot be shuffled"


def strangers(groups: Sequence[Hashable], seed: int) -> np.ndarray | None:
    """For each position `[n]` one of another group, drawn by seed; None where there is only one group.

    Each position is taken once, unless one group has more than half of them: then the others take turns.
    """
    members: dict[Hashable, list[int]] = {}
    for position in np.random.default_rng(seed).permutation(len(groups)):
        members.setdefault(groups[position], []).append(int(position))
    if len(members) < 2:
        return None
    # Groups stand side by side in a ring: a rotation by the size of the largest one leaves every group.
    ring, largest = np.concatenate(list(members.values())), max(members.values(), key=len)
    partner = np.empty(len(ring), dtype=np.int64)
    partner[ring] = np.roll(ring, -len(largest))
    if 2 * len(largest) > len(ring):
        partner[largest] = np.resize(ring[~np.isin(ring, largest)], len(largest))
    return partner
