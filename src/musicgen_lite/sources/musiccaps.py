"""MusicCaps (Agostinelli et al. 2023, arXiv:2301.11325): 5,521 captions of 10 s windows of YouTube videos.

The table is a CSV file or the hub's; the audio is fetched where it is not in the cache (`sources.fetch`). Videos that are
gone are rejected with their reason and never stop the others.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from musicgen_lite.compute import IN_THIS_PROCESS, Engine
from musicgen_lite.errors import UserError, first_line
from musicgen_lite.io.clips import Clip
from musicgen_lite.io.hashing import SHORT, file_sha256
from musicgen_lite.params_data import MusicCapsParams
from musicgen_lite.sources import tables
from musicgen_lite.sources.fetch import Fetcher, Missing, Window
from musicgen_lite.sources.pieces import Cutting, FilePart, Refused, cut_each
from musicgen_lite.sources.tables import Reject

FILE = "musiccaps-public.csv"
REQUIRED = ("ytid", "start_s", "end_s", "caption", "is_audioset_eval")
HUB_TIMEOUT_S = 5.0
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class Entry:
    """A valid row of the table."""

    place: str
    window: Window
    caption: str
    aspects: tuple[str, ...]
    held_out: bool


def locate(params: MusicCapsParams, root: Path) -> Path:
    """The table: the file that the parameter names, relative to `root`, or the hub's."""
    return root / Path(params.csv).expanduser() if params.csv else hub_table(params.dataset, params.revision)


def hub_table(dataset: str, revision: str) -> Path:
    """The table of a dataset of the hub, fetched once and kept in the hub's own cache.

    Raises UserError within seconds where the hub is out of reach and the table was never fetched.
    """
    from huggingface_hub import HfApi, hf_hub_download

    try:
        return Path(hf_hub_download(dataset, FILE, repo_type="dataset", revision=revision, local_files_only=True))
    except Exception:  # not cached: the hub's client raises many types
        pass
    try:
        # First, because without a network it fails at once, without retries.
        HfApi().dataset_info(dataset, revision=revision, timeout=HUB_TIMEOUT_S)
        return Path(hf_hub_download(dataset, FILE, repo_type="dataset", revision=revision))
    except Exception as error:
        raise UserError(
            f"data.musiccaps.dataset: the hub did not give {FILE} of {dataset!r} at revision {revision!r} ({first_line(error)}); "
            f"check both names and the network, or name a copy of {FILE} in data.musiccaps.csv"
        ) from error


def digest(table: Path) -> str:
    """Over the table: an equal digest means no import is due."""
    if not table.is_file():
        raise UserError(
            f"data.musiccaps.csv: {table}: no such file; name the MusicCaps table, or leave it empty for the hub"
        )
    return file_sha256(table)[:SHORT]


def read(table: Path, reject: Reject) -> list[Entry]:
    """The valid rows of the table; `reject(id, reason)` is called for the others."""
    entries: list[Entry] = []
    seen: dict[Window, str] = {}
    for row in tables.read(table, REQUIRED, reject):
        ytid, place = row.get("ytid"), f"{row.place} ({row.get('ytid')[:20]})"
        reason = None if re.fullmatch(r"[\w-]{1,64}", ytid, re.ASCII) else f"id: {ytid[:80]!r} is not a video's"
        reason = reason or tables.invalid_caption(row)
        held_out = BOOLEANS.get(row.get("is_audioset_eval").lower())
        if reason is None and held_out is None:
            reason = f"split: is_audioset_eval is {row.get('is_audioset_eval')!r}, True or False are allowed"
        try:
            start, end = tables.window(row)
            if end is None:
                raise ValueError("window: end_s is empty")
        except ValueError as error:
            reject(place, reason or str(error))
            continue
        window = Window(ytid, start, end)
        if reason is None and seen.setdefault(window, row.place) != row.place:
            reason = f"duplicate: the same video and window as {seen[window]}"
        if reason:
            reject(place, reason)
        else:
            entries.append(Entry(place, window, row.get("caption"), tables.aspects(row), bool(held_out)))
    return entries


def splits(entries: Sequence[Entry], validation_fraction: float, seed: int) -> dict[str, str]:
    """The split of each video: test if one of its rows is in AudioSet's evaluation set, else by a seeded hash of its id.

    A video that disappears therefore never moves another one.
    """
    held_out = {entry.window.ytid for entry in entries if entry.held_out}

    def is_validation(ytid: str) -> bool:
        value = int.from_bytes(hashlib.sha256(f"{seed}/{ytid}".encode()).digest()[:6], "big")
        return value < validation_fraction * 2**48

    return {
        ytid: "test" if ytid in held_out else "validation" if is_validation(ytid) else "train"
        for ytid in (entry.window.ytid for entry in entries)
    }


def clips(
    table: Path,
    fetcher: Fetcher,
    rate: int,
    seconds: float,
    validation_fraction: float,
    seed: int,
    reject: Reject,
    shortest: float | None = None,
    engine: Engine = IN_THIS_PROCESS,
) -> Iterator[Clip]:
    """Clips of exactly `seconds` at `rate` Hz mono, in the table's order; `reject(id, reason)` is called for the others.

    shortest, engine: as of `folder.clips`. What fetches is this process: its pauses and its rule of giving up are the job's.
    """
    entries = read(table, reject)
    split = splits(entries, validation_fraction, seed)
    found = fetcher.fetch([entry.window for entry in entries])
    parts = ((entry, _part(entry, path)) for entry, path in zip(entries, found, strict=True))
    for entry, number, samples in cut_each(engine, Cutting(rate, seconds, shortest), parts, reject):
        window = entry.window
        yield Clip(
            f"{window.name}-{number:03d}", window.ytid, split[window.ytid], entry.caption, entry.aspects, samples, rate,
            {"start_s": window.start_s + number * seconds},
        )  # fmt: skip


def _part(entry: Entry, found: Path | Missing) -> FilePart | Refused:
    return Refused(entry.place, found.reason) if isinstance(found, Missing) else FilePart(entry.place, found)
