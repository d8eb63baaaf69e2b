"""A folder of the user's own audio with a metadata table, in the manner of Hugging Face's AudioFolder, here or on S3.

The table is `metadata.csv` or `metadata.jsonl`. Columns: file_name (relative to the folder) and caption are required;
start_s, end_s, track_id, split, aspect_list, bpm and beat_s (seconds of the file at which a bar begins) are optional. A window longer than a clip is cut into consecutive clips.
Rows that cannot be used are rejected with a reason and counted; they never stop the others.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from musicgen_lite.compute import IN_THIS_PROCESS, Engine
from musicgen_lite.errors import UserError
from musicgen_lite.io.beats import Beat
from musicgen_lite.io.clips import SPLITS, Clip
from musicgen_lite.io.hashing import file_sha256, file_stat, short_digest
from musicgen_lite.params_data import FolderParams
from musicgen_lite.sources import ffmpeg, remote, tables
from musicgen_lite.sources.cutting import needs_ffmpeg
from musicgen_lite.sources.duplicates import equal_files
from musicgen_lite.sources.file_lookup import FileLookup
from musicgen_lite.sources.pieces import Cutting, FilePart, cut_each
from musicgen_lite.sources.tables import Reject, Row

VARIABLE = "MUSICGEN_LITE_FOLDER"  # in the environment: the folder, where no parameter names one
TABLES = ("metadata.csv", "metadata.jsonl")
NAME = "file_name"
REQUIRED = (NAME, "caption")
SHOWN = 20  # groups of equal files that are listed


@dataclass(frozen=True)
class Entry:
    """A valid row: its number among the rows, the file and its name on disk, the window in seconds, its track and beat."""

    number: int
    row: Row
    path: Path
    name: str
    start_s: float
    end_s: float | None
    beat: Beat

    @property
    def track(self) -> str:
        return self.row.get("track_id") or self.name


def locate(params: FolderParams, root: Path) -> Path:
    """The folder that the parameter or the environment names; relative paths start at `root`.

    Of an address (s3://…) it is a copy on this machine, so far with the table alone. UserError where it cannot be read.
    """
    name = params.path or os.environ.get(VARIABLE, "")
    if not name:
        raise UserError(f"data.folder.path: empty; give a folder with metadata.csv there or in {VARIABLE}")
    return remote.copy(name, root, TABLES) if remote.is_remote(name) else root / Path(name).expanduser()


def table_path(folder: Path) -> Path:
    """The folder's one metadata table; UserError where there is none, or two."""
    found = [folder / name for name in TABLES if (folder / name).is_file()]
    if not found:
        raise UserError(
            f"{folder / TABLES[0]}: no such file; a folder source needs it, or {TABLES[1]}, with the columns "
            f"{', '.join(REQUIRED)}"
        )
    if len(found) > 1:
        raise UserError(f"{folder}: holds both {' and '.join(TABLES)}; remove one")
    return found[0]


def digest(folder: Path) -> str:
    """Over the metadata and each named file's size and time of change: an equal digest means no import is due."""
    table = table_path(folder)
    rows = tables.read(table, REQUIRED, reject=lambda place, reason: None)
    cells = sorted({row.cells.get(NAME, "") for row in rows})
    if (facts := remote.facts(folder, cells)) is not None:
        return short_digest([table.name, file_sha256(table), facts])
    names = FileLookup(folder)
    stats: list[tuple[str | int, ...]] = []
    for cell in cells:
        found = names.find(cell)
        stats.append((found,) if isinstance(found, str) else (cell.strip(), *file_stat(found[0])))
    return short_digest([table.name, file_sha256(table), stats])


def assign_splits(tracks: list[str], validation_fraction: float, test_fraction: float) -> dict[str, str]:
    """A split for each track by the hash of its name; validation holds at least one track, and test two.

    One half of the test tracks is the reference for the other.
    """
    order = sorted(set(tracks), key=lambda track: hashlib.sha256(track.encode()).hexdigest())
    if len(order) < 4:
        raise UserError(
            f"{len(order)} track(s) cannot make three splits; at least 4 are needed, of which 2 are for the test "
            "(column track_id, or file_name where there is none)"
        )
    tests = max(2, round(test_fraction * len(order)))
    validations = max(1, round(validation_fraction * len(order)))
    names = ["test"] * tests + ["validation"] * validations
    return dict(zip(order, names + ["train"] * (len(order) - len(names)), strict=True))


def _entries(folder: Path, reject: Reject) -> list[Entry]:
    """Rows that are valid by the table alone; the audio is not opened."""
    names, entries = FileLookup(folder), list[Entry]()
    seen: dict[tuple[Path, float, float | None], str] = {}
    rows = tables.read(table_path(folder), REQUIRED, reject)
    remote.fetch(folder, {row.cells.get(NAME, "") for row in rows})
    for number, row in enumerate(rows):
        found = names.find(row.cells.get(NAME, ""))
        reason = found if isinstance(found, str) else tables.invalid_caption(row)
        if not reason and row.get("split") not in ("", *SPLITS):
            reason = f"split: {row.get('split')!r} is none of {', '.join(SPLITS)}"
        try:
            start, end = tables.window(row)
            beat = tables.beat(row)
        except ValueError as error:
            reason = reason or str(error)
        if not reason:
            assert not isinstance(found, str)
            path, name = found
            first = seen.setdefault((path, start, end), row.place)
            if first == row.place:
                entries.append(Entry(number, row, path, name, start, end, beat))
                continue
            reason = f"duplicate: the same file and window as {first}"
        reject(f"{row.place} ({row.get(NAME)[:100]})", reason)
    return entries


def _tracks(table: Path, entries: list[Entry], log: Callable[[str], None]) -> dict[str, str]:
    """The track of each track label: its own, or the first one with a file of equal audio; `log` gets a line for each.

    Raises UserError for a file in two tracks.
    """
    of: dict[Path, str] = {}
    for entry in entries:
        if of.setdefault(entry.path, entry.track) != entry.track:
            raise UserError(
                f"{table}: {entry.row.get(NAME)} is in both track {of[entry.path]!r} and {entry.track!r}; "
                "rows of one file share a track"
            )
    joined = {track: track for track in of.values()}
    groups = equal_files(of)
    for group in groups:
        named = {joined[of[path]] for path in group}
        first = next(track for track in joined.values() if track in named)
        joined = {track: first if whole in named else whole for track, whole in joined.items()}
    names = {entry.path: entry.name for entry in entries}
    for group in groups[:SHOWN]:
        log(f"equal audio, treated as one track: {', '.join(names[path] for path in group)}")
    if len(groups) > SHOWN:
        log(f"equal audio, treated as one track: {len(groups) - SHOWN} more groups of files")
    return joined


def _splits(
    table: Path, entries: list[Entry], tracks: dict[str, str], validation_fraction: float, test_fraction: float
) -> dict[str, str]:
    """The split of each track: what the table says, else by the hash of its name. Raises UserError for two splits."""
    splits: dict[str, str] = {}
    first: dict[str, Entry] = {}
    for entry in entries:
        split, track = entry.row.get("split"), tracks[entry.track]
        if split and splits.setdefault(track, split) != split:
            other = first[track]
            if entry.track == other.track:
                raise UserError(f"{table}: track {entry.track!r} is in both {splits[track]} and {split}")
            raise UserError(
                f"{table}: {other.name} is in {splits[track]} and {entry.name} in {split}, but their audio is equal or of one "
                "track with equal audio; give them one split, or leave one out"
            )
        if split:
            first.setdefault(track, entry)
    names = [tracks[entry.track] for entry in entries]
    if not splits.keys() >= set(names):
        return assign_splits(names, validation_fraction, test_fraction) | splits
    return splits


def clips(
    folder: Path,
    rate: int,
    seconds: float,
    validation_fraction: float,
    test_fraction: float,
    reject: Reject,
    log: Callable[[str], None] = print,
    shortest: float | None = None,
    engine: Engine = IN_THIS_PROCESS,
) -> Iterator[Clip]:
    """Clips of exactly `seconds` at `rate` Hz mono from every valid row; `reject(id, reason)` is called for the others.

    shortest: of a clip at the end of a file, in seconds; None is `seconds`. log: gets a line for each group of files
    that are treated as one track because their audio is equal. engine: decodes and cuts.
    """
    entries, table = _entries(folder, reject), table_path(folder)
    by_ffmpeg = [entry.path for entry in entries if needs_ffmpeg(entry.path)]
    if by_ffmpeg:
        ffmpeg.require(str(by_ffmpeg[0]))
    tracks = _tracks(table, entries, log)
    splits = _splits(table, entries, tracks, validation_fraction, test_fraction)
    parts = (
        (entry, FilePart(f"{entry.row.place} ({entry.row.get(NAME)})", entry.path, entry.start_s, entry.end_s))
        for entry in entries
    )
    for entry, piece, samples in cut_each(engine, Cutting(rate, seconds, shortest), parts, reject):
        whole, beat = tracks[entry.track], entry.beat.later(entry.start_s + piece * seconds)
        yield Clip(
            f"{entry.number:06d}-{piece:03d}", whole, splits[whole], entry.row.get("caption"), tables.aspects(entry.row),
            samples, rate, {"file": entry.row.get(NAME), "tempo": beat.bpm, "beat_s": beat.beat_s},
        )  # fmt: skip
