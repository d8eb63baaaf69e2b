"""A folder of the user's own audio with a metadata table, in the manner of Hugging Face's AudioFolder.

The table is `metadata.csv` or `metadata.jsonl`. Columns: file_name (relative to the folder) and caption are required;
start_s, end_s, track_id, split and aspect_list are optional. A window longer than a clip is cut into consecutive clips.
Whatever cannot be used is reported with its reason and counted; it never stops the others.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from musicgen_lite.errors import UserError
from musicgen_lite.params import FolderParams
from musicgen_lite.sources import ffmpeg, tables
from musicgen_lite.sources.clips import SPLITS, Clip
from musicgen_lite.sources.cutting import cut, needs_ffmpeg
from musicgen_lite.sources.tables import Reject, Row

VARIABLE = "MUSICGEN_LITE_FOLDER"  # in the environment: the folder, where no parameter names one
TABLES = ("metadata.csv", "metadata.jsonl")
REQUIRED = ("file_name", "caption")


@dataclass(frozen=True)
class Entry:
    """A usable row: its number among the rows, the file, the window in seconds, and the track it belongs to."""

    number: int
    row: Row
    path: Path
    start_s: float
    end_s: float | None

    @property
    def track(self) -> str:
        return self.row.get("track_id") or self.row.get("file_name")


def locate(params: FolderParams, root: Path) -> Path:
    """The folder that the parameter or the environment names; relative paths start at `root`."""
    name = params.path or os.environ.get(VARIABLE, "")
    if not name:
        raise UserError(f"data.folder.path: empty; give a folder with metadata.csv there or in {VARIABLE}")
    return root / Path(name).expanduser()


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
    """A digest of the metadata and of every named file's size and time of change: equal means nothing to import again."""
    table = table_path(folder)
    state = hashlib.sha256(table.name.encode() + table.read_bytes())
    rows = tables.read(table, REQUIRED, reject=lambda place, reason: None)
    for name in sorted({row.get("file_name") for row in rows}):
        path = _locate(folder, name)
        if isinstance(path, Path):
            status = path.stat()
            state.update(f"{name}:{status.st_size}:{status.st_mtime_ns}".encode())
        else:
            state.update(path.encode())
    return state.hexdigest()[:16]


def assign_splits(tracks: list[str], validation_fraction: float, test_fraction: float) -> dict[str, str]:
    """A split for each track by the hash of its name; validation holds at least one track, and test two.

    One half of the test tracks is what the other half is measured against.
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


def _locate(folder: Path, name: str) -> Path | str:
    """The file of that name in the folder, or why there is none that may be read."""
    if not name:
        return "file: file_name is empty"
    try:
        path = (folder / name).resolve()
        if Path(name).is_absolute() or not path.is_relative_to(folder.resolve()):
            return "file: file_name leads outside the folder; name files relative to it"
        return path if path.is_file() else "file: no such file"
    except (OSError, ValueError, RuntimeError) as error:  # too long a name, a NUL byte, a loop of links
        return f"file: file_name cannot be a file's ({error})"


def _entries(folder: Path, reject: Reject) -> list[Entry]:
    """Rows that can be used as far as the table says; the audio is not opened."""
    table = table_path(folder)
    entries: list[Entry] = []
    seen: dict[tuple[Path, float, float | None], str] = {}
    for number, row in enumerate(tables.read(table, REQUIRED, reject)):
        path = _locate(folder, row.get("file_name"))
        reason = path if isinstance(path, str) else tables.caption_fault(row)
        if not reason and row.get("split") not in ("", *SPLITS):
            reason = f"split: {row.get('split')!r} is none of {', '.join(SPLITS)}"
        try:
            start, end = tables.window(row)
        except ValueError as error:
            reason = reason or str(error)
        if not reason:
            assert isinstance(path, Path)
            first = seen.setdefault((path, start, end), row.place)
            if first == row.place:
                entries.append(Entry(number, row, path, start, end))
                continue
            reason = f"duplicate: the same file and window as {first}"
        reject(f"{row.place} ({row.get('file_name')[:100]})", reason)
    return entries


def _splits(table: Path, entries: list[Entry], validation_fraction: float, test_fraction: float) -> dict[str, str]:
    """The split of each track. Raises UserError for a file in two tracks, or a track in two splits."""
    tracks: dict[Path, str] = {}
    for entry in entries:
        if tracks.setdefault(entry.path, entry.track) != entry.track:
            raise UserError(
                f"{table}: {entry.row.get('file_name')} is in both track {tracks[entry.path]!r} and {entry.track!r}; "
                "rows of one file share a track"
            )
    hashed: dict[str, str] = {}
    if not all(entry.row.get("split") for entry in entries):
        hashed = assign_splits([entry.track for entry in entries], validation_fraction, test_fraction)
    splits: dict[str, str] = {}
    for entry in entries:
        split = entry.row.get("split") or hashed[entry.track]
        if splits.setdefault(entry.track, split) != split:
            raise UserError(f"{table}: track {entry.track!r} is in both {splits[entry.track]} and {split}")
    return splits


def clips(
    folder: Path, rate: int, seconds: float, validation_fraction: float, test_fraction: float, reject: Reject
) -> Iterator[Clip]:
    """Clips of exactly `seconds` at `rate` Hz mono from every usable row; `reject(id, reason)` hears of the rest."""
    entries = _entries(folder, reject)
    splits = _splits(table_path(folder), entries, validation_fraction, test_fraction)
    through = [entry.path for entry in entries if needs_ffmpeg(entry.path)]
    if through:
        ffmpeg.require(str(through[0]))
    for entry in entries:
        name = entry.row.get("file_name")
        place = f"{entry.row.place} ({name})"
        for piece, samples in cut(entry.path, entry.start_s, entry.end_s, rate, seconds, partial(reject, place)):
            yield Clip(
                f"{entry.number:06d}-{piece:03d}", entry.track, splits[entry.track], entry.row.get("caption"),
                tables.aspects(entry.row), samples, rate, {"file": name},
            )  # fmt: skip
