"""What belongs together: ids are checked, never lined up by position, and wrong partners are drawn by seed."""

from collections.abc import Iterable, Mapping, Sequence

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


def split_halves(tracks: Sequence[str], seed: int) -> np.ndarray:
    """Which clips `[n]` (True) are the reference half, given each clip's track: tracks are never divided.

    Tracks are drawn in a seeded order until half of the clips are taken. The order of the clips does not matter.
    Raises UserError for fewer than two tracks.
    """
    labels = np.array([str(track) for track in tracks])
    names, counts = np.unique(labels, return_counts=True)
    if len(names) < 2:
        raise UserError(
            f"test split: {len(names)} track; scores need a reference half and another of different tracks: add tracks, "
            "or raise data.folder.test_fraction"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    before = np.cumsum(counts[order]) - counts[order]
    # A track is taken while that brings the half nearer to half of the clips; the last one stays for the other half.
    taken = (before + counts[order] / 2) <= len(labels) / 2
    taken[0], taken[-1] = True, False
    return np.isin(labels, names[order[taken]])


def from_few_groups(ids: Sequence[str], pool: Mapping[str, str], seed: int) -> dict[str, str]:
    """A different clip of the pool (id → group, such as its genre) for each of `ids`, from a quarter of the groups.

    Groups and clips are drawn by seed. Raises UserError where there are too few of either.
    """
    groups = sorted(set(pool.values()))
    if len(groups) < 2:
        raise UserError(f"{len(groups)} genre among {len(pool)} training clips: a part of them needs at least 2")
    rng = np.random.default_rng(seed)
    chosen = {groups[i] for i in rng.permutation(len(groups))[: max(1, len(groups) // 4)]}
    clips = sorted(clip for clip, group in pool.items() if group in chosen)
    if len(clips) < len(ids):
        raise UserError(f"{len(clips)} training clips of {', '.join(sorted(chosen))}: {len(ids)} are needed; add some")
    drawn = rng.permutation(len(clips))[: len(ids)]
    return {clip: clips[i] for clip, i in zip(sorted(ids), drawn, strict=True)}
