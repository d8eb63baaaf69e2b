"""Tables of captioned audio as CSV or JSON lines: their rows, and the columns that sources share.

An invalid table raises a UserError naming the file; an invalid row is rejected with its reason.
"""

import ast
import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from musicgen_lite.errors import UserError
from musicgen_lite.io.beats import Beat
from musicgen_lite.rhythm import FASTEST, SLOWEST

MAX_CAPTION = 2_000
# Python's default limit of 131,072 characters would fail the table; instead the row of a longer cell is rejected.
MAX_CELL = 2**24
Reject = Callable[[str, str], None]


@dataclass(frozen=True)
class Row:
    """One row: its place (`metadata.csv row 3`, the header is row 1), and its cells as text, '' where empty."""

    place: str
    cells: dict[str, str]

    def get(self, column: str) -> str:
        """A cell without surrounding space; '' where the table has no such column."""
        return self.cells.get(column, "").strip()


def read(path: Path, required: Sequence[str], reject: Reject) -> list[Row]:
    """The rows of a `.csv` or `.jsonl` file in UTF-8, with or without a byte order mark.

    Raises UserError for a file that is missing, not UTF-8, not such a table, or has no `required` column.
    """
    text = read_text(path, f"it needs the columns {', '.join(required)}" if required else "name one that is there")
    rows = list((_json_rows if path.suffix == ".jsonl" else _csv_rows)(path, text, reject))
    columns = dict.fromkeys(name for row in rows for name in row.cells)
    missing = [name for name in required if name not in columns]
    if missing and not rows:
        raise UserError(f"{path}: no rows in it; the columns {', '.join(required)} are needed")
    if missing:
        raise UserError(f"{path}: column {missing[0]!r} is missing; found {', '.join(columns)}")
    return rows


def read_text(path: Path, needed: str) -> str:
    """A file in UTF-8, with or without a byte order mark; UserError for one that is missing (`needed`: what of it), or is not."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {needed}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error}); save it again in that encoding") from error


def _csv_rows(path: Path, text: str, reject: Reject) -> Iterator[Row]:
    csv.field_size_limit(MAX_CELL)
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(lines, [])]
        twice = {name for name in header if header.count(name) > 1}
        if twice:
            raise UserError(f"{path}: column {min(twice)!r} is there twice")
        for number, cells in enumerate((line for line in lines if line), 2):
            place = f"{path.name} row {number}"
            if len(cells) != len(header):
                reject(place, f"not a row: {len(cells)} cells, {len(header)} columns; quote captions that have a comma")
                continue
            yield Row(place, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise UserError(f"{path}: not a CSV table, at line {lines.line_num}: {error}; mind the quotes") from error


def _json_rows(path: Path, text: str, reject: Reject) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        place = f"{path.name} row {number}"
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            reject(place, f"not a row: not JSON ({error})")
            continue
        if not isinstance(value, dict):
            reject(place, f"not a row: expected a JSON object, found {type(value).__name__}")
            continue
        yield Row(place, {name: "" if cell is None else str(cell) for name, cell in value.items()})


def captions(path: Path, required: Sequence[str]) -> list[str]:
    """The valid captions of a table; see `read`."""
    rows = read(path, required, reject=lambda place, reason: None)
    return [row.get("caption") for row in rows if not invalid_caption(row)]


def invalid_caption(row: Row) -> str | None:
    """Why a row's caption cannot be used; None for a valid one."""
    caption = row.get("caption")
    if not caption:
        return "caption: empty"
    if len(caption) > MAX_CAPTION:
        return f"caption: {len(caption)} characters, at most {MAX_CAPTION} are allowed"
    return None


def window(row: Row) -> tuple[float, float | None]:
    """The row's window, start_s (0 where empty) and end_s (None: the end of the file); ValueError says what is wrong."""
    found = []
    for column in ("start_s", "end_s"):
        text = row.get(column)
        try:
            value = float(text) if text else None
        except ValueError:
            raise ValueError(f"window: {column} is {text!r}, not a number of seconds") from None
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"window: {column} is {text}, seconds from 0 on are allowed")
        found.append(value)
    start, end = found[0] or 0.0, found[1]
    if end is not None and end <= start:
        raise ValueError(f"window: starts at {start:g} s, but ends at {end:g} s")
    return start, end


def beat(row: Row) -> Beat:
    """The row's bpm and beat_s, NaN where empty; ValueError says what is wrong."""
    found = []
    for column, low, high, unit in (("bpm", SLOWEST, FASTEST, "BPM"), ("beat_s", 0.0, math.inf, "seconds")):
        text = row.get(column)
        try:
            value = float(text) if text else math.nan
        except ValueError:
            raise ValueError(f"beat: {column} is {text!r}, not a number of {unit}") from None
        if text and not (math.isfinite(value) and low <= value <= high):
            allowed = f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} or more"
            raise ValueError(f"beat: {column} is {text}; {allowed} {unit} are allowed")
        found.append(value)
    if math.isnan(found[0]) and not math.isnan(found[1]):
        raise ValueError(f"beat: beat_s is {found[1]:g}, but bpm is empty; give both, or bpm alone")
    return Beat(*found)


def aspects(row: Row) -> tuple[str, ...]:
    """The words of aspect_list: a list literal, as MusicCaps has it, or words between commas."""
    text = row.get("aspect_list")
    if not text:
        return ()
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = text.split(",")
    words = value if isinstance(value, list | tuple) else (value,)
    return tuple(str(word).strip() for word in words)
