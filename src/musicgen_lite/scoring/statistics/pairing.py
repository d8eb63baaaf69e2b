"""What belongs together: ids are checked, never lined up by position, and wrong partners are drawn by seed."""

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
    """Raise UserError naming ids that are missing from `found` or that nobody expected."""
    wanted, given = set(expected), set(found)
    for title, ids in (("no entry for", wanted - given), ("an unexpected entry for", given - wanted)):
        if ids:
            first = ", ".join(repr(item) for item in sorted(ids)[:3])
            raise UserError(f"{what}: {title} {len(ids)} id(s), such as {first}; run `dvc repro` to make both anew")


def withheld(what: str, count: int) -> str:
    """Why nothing can be held against another's caption or track."""
    return f"withheld: all {count} clips are of one {what}, so that none is another's"


def strangers(groups: Sequence[Hashable], seed: int) -> np.ndarray | None:
    """For each position `[n]` one of another group, drawn by seed; None where all are of one group.

    Each is taken once, but where one group holds more than half: its strangers are too few, and take turns.
    """
    members: dict[Hashable, list[int]] = {}
    for place in np.random.default_rng(seed).permutation(len(groups)):
        members.setdefault(groups[place], []).append(int(place))
    if len(members) < 2:
        return None
    # Groups lie side by side in a ring, so that a turn by the largest one's size leaves each of them.
    ring, largest = np.concatenate(list(members.values())), max(members.values(), key=len)
    partner = np.empty(len(ring), dtype=np.int64)
    partner[ring] = np.roll(ring, -len(largest))
    if 2 * len(largest) > len(ring):
        partner[largest] = np.resize(ring[~np.isin(ring, largest)], len(largest))
    return partner
