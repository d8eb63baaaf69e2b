"""A folder of the user's own audio with a `metadata.csv`, in the manner of Hugging Face's AudioFolder.

Columns: file_name (relative to the folder) and caption are required; start_s, end_s, track_id, split and aspect_list
are optional. A window longer than a clip is cut into consecutive clips. Whatever cannot be used is reported with its
reason and counted; it never stops the others.
"""

import ast
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from musicgen_lite import audio
from musicgen_lite.errors import UserError
from musicgen_lite.sources.clips import SPLITS, Clip

METADATA = "metadata.csv"
REQUIRED = ("file_name", "caption")
MAX_CAPTION = 2_000
Reject = Callable[[str, str], None]


def read_metadata(folder: Path) -> pd.DataFrame:
    """The rows of `metadata.csv`, all cells as text ('' where empty); UserError names a missing file or column."""
    path = folder / METADATA
    if not path.is_file():
        raise UserError(f"{path}: no such file; a folder source needs it with the columns {', '.join(REQUIRED)}")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, pd.errors.ParserError) as error:
        raise UserError(f"{path}: not a CSV table in UTF-8 ({error})") from error
    missing = [name for name in REQUIRED if name not in table.columns]
    if missing:
        raise UserError(f"{path}: column {missing[0]!r} is missing; found {', '.join(table.columns)}")
    return table


def digest(folder: Path) -> str:
    """A digest of the metadata and of every named file's size and time of change: equal means nothing to import again."""
    table = read_metadata(folder)
    state = hashlib.sha256((folder / METADATA).read_bytes())
    for name in sorted(set(table["file_name"])):
        path = folder / name
        state.update(
            f"{name}:{path.stat().st_size}:{path.stat().st_mtime_ns}".encode() if path.is_file() else b"missing"
        )
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


def _seconds(row: dict[str, Any], column: str) -> float | None:
    text = str(row.get(column, "")).strip()
    return float(text) if text else None


def _aspects(row: dict[str, Any]) -> tuple[str, ...]:
    """MusicCaps writes a Python list literal; a plain comma list is taken as well."""
    text = str(row.get("aspect_list", "")).strip()
    if not text:
        return ()
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text.split(",")
    return tuple(str(item).strip() for item in value) if isinstance(value, list | tuple) else (str(value),)


def _row_fault(folder: Path, row: dict[str, Any]) -> str | None:
    """Why a row cannot be used, before its audio is opened."""
    name = row["file_name"].strip()
    path = (folder / name).resolve()
    if not name:
        return "file_name is empty"
    if not path.is_relative_to(folder.resolve()):
        return "file_name leads outside the folder"
    if not path.is_file():
        return "no such file"
    if not row["caption"].strip():
        return "caption is empty"
    if len(row["caption"]) > MAX_CAPTION:
        return f"caption has {len(row['caption'])} characters, at most {MAX_CAPTION} are allowed"
    try:
        start, end = _seconds(row, "start_s") or 0.0, _seconds(row, "end_s")
    except ValueError as error:
        return f"start_s or end_s is not a number ({error})"
    if not np.isfinite(start) or start < 0 or (end is not None and not end > start):
        return f"window from {start} s to {end} s is empty or negative"
    if row.get("split", "") and row["split"] not in SPLITS:
        return f"split {row['split']!r} is none of {', '.join(SPLITS)}"
    return None


def clips(
    folder: Path, rate: int, seconds: float, validation_fraction: float, test_fraction: float, reject: Reject
) -> Iterator[Clip]:
    """Clips of exactly `seconds` at `rate` Hz mono from every usable row; `reject(id, reason)` hears of the rest."""
    table = read_metadata(folder)
    rows = [dict(row) for row in table.to_dict("records")]
    usable = []
    for number, row in enumerate(rows):
        row["id"] = f"{number:06d}"
        row["track"] = str(row.get("track_id", "")).strip() or row["file_name"]
        reason = _row_fault(folder, row)
        if reason:
            reject(f"{METADATA} row {number + 2} ({row['file_name']})", reason)
        else:
            usable.append(row)
    splits: dict[str, str] = {}
    if not all(row.get("split") for row in usable):
        splits = assign_splits([row["track"] for row in usable], validation_fraction, test_fraction)
    by_track: dict[str, str] = {}
    for row in usable:
        split = row.get("split") or splits[row["track"]]
        if by_track.setdefault(row["track"], split) != split:
            raise UserError(
                f"{folder / METADATA}: track {row['track']!r} is in both {by_track[row['track']]} and {split}"
            )
        yield from _cut(folder, row, split, rate, seconds, reject)


def _cut(folder: Path, row: dict[str, Any], split: str, rate: int, seconds: float, reject: Reject) -> Iterator[Clip]:
    """Cut one row's window into consecutive clips."""
    name = row["file_name"].strip()
    start, end = _seconds(row, "start_s") or 0.0, _seconds(row, "end_s")
    try:
        samples, rate_in = audio.read(folder / name, start, end, name=name)
    except UserError as error:
        reject(name, str(error))
        return
    mono = audio.resample(audio.to_mono(samples), rate_in, rate)
    length = round(seconds * rate)
    if len(mono) < length:
        reject(name, audio.fault(mono, rate, seconds) or "too short")
        return
    for number in range(len(mono) // length):
        piece = mono[number * length : (number + 1) * length]
        clip_id = f"{row['id']}-{number:03d}"
        reason = audio.fault(piece, rate, seconds)
        if reason:
            reject(f"{name} from {start + number * seconds:g} s", reason)
            continue
        # Resampling may overshoot full scale a little; only then is the level touched.
        loudest = audio.peak(piece)
        piece = piece / loudest if loudest > 1.0 else piece
        yield Clip(clip_id, row["track"], split, row["caption"].strip(), _aspects(row), piece, rate, {"file": name})
