"""Music for a file of prompts: batched, with an index, and resumed where it stopped.

A piece's file is named by its prompt (or its `id`) and a digest of all that decides its audio. So a row that was moved, or
stands in another file, is known again, and a changed one is another piece.
"""

import contextlib
import csv
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from musicgen_lite.errors import UserError
from musicgen_lite.io import files
from musicgen_lite.io.hashing import short_digest
from musicgen_lite.request import Request

COLUMNS = ("prompt", "id", "seconds", "seed", "tempo")
INDEX = "index.csv"
SHOWN = 20  # of the bad rows
# A batch is what is lost when a run is killed: it holds about this much audio, candidates included.
BATCH_ROWS, BATCH_S = 64, 640.0
MAX_WORDS = 40  # characters of a prompt in a file's name


@dataclass(frozen=True)
class Row:
    """One request and its place (`prompts.csv, line 3`); id: what its file's name begins with."""

    place: str
    id: str
    request: Request


def read_prompts(path: Path, defaults: Request) -> list[Row]:
    """The rows of a .txt file, a prompt a line, or of a .csv with a column `prompt` and, if wanted, id, seconds, seed and tempo.

    What is empty is as in `defaults`. Raises UserError naming a file that cannot be read, and every bad row with what is wrong.
    """
    if path.suffix.lower() not in (".txt", ".csv"):
        raise UserError(f"{path}: prompts are read from a .txt, one a line, or a .csv with a column prompt")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error}); save it again in that encoding") from error
    except OSError as error:
        raise files.explain(error, path) from error
    cells = _lines(text) if path.suffix.lower() == ".txt" else _table(path, text)
    return _all_good(path, cells, lambda row: _row(row[0], row[1], defaults))


def read_named(path: Path, parameter: str) -> list[dict[str, str]]:
    """The prompts of such a file, each with its `id`: that of the table, else its number, as `001`; all else is not for a row to say.

    Raises UserError, naming the `parameter`, for fewer than two prompts and for ids that are no file's name or there twice.
    """
    rows = read_prompts(path, Request(""))
    bad, seen = list[str](), dict[str, str]()
    named = [(row, row.id or f"{number:03d}") for number, row in enumerate(rows, 1)]
    for row, name in named:
        first = seen.setdefault(name, row.place)
        if row.request != Request(row.request.prompt):
            bad.append(f"{row.place}: seconds, seed and tempo are those of the parameters; leave these columns empty")
        elif not re.fullmatch(r"\w[\w.-]{0,99}", name, re.ASCII):
            bad.append(f"{row.place}: id {name[:100]!r} is to name a file; letters, digits, -, _ and . are allowed")
        elif first != row.place:
            bad.append(f"{row.place}: id {name!r} is that of {first} as well; give each prompt its own")
    if bad:
        raise UserError("\n  ".join([f"{parameter}: {path}: {len(bad)} bad rows:", *bad[:SHOWN]]))
    if len(rows) < 2:
        raise UserError(f"{parameter}: {path}: holds {len(rows)} prompt; scores need at least 2")
    return [{"id": name, "prompt": row.request.prompt} for row, name in named]


def check_rows(path: Path, rows: Sequence[Row], check: Callable[[Request], None]) -> None:
    """Raise UserError naming each row whose request `check` refuses."""

    def checked(row: Row) -> Row:
        try:
            check(row.request)
        except UserError as error:
            raise UserError(f"{row.place}: {error}") from error
        return row

    _all_good(path, rows, checked)


def check_folder(folder: Path) -> None:
    """Raise UserError where no folder can be made, or nothing written into it."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: with --prompts the output is a folder, and this is a file; name another")
    files.check_place(folder / INDEX)


def _all_good(path: Path, rows: Iterable[Any], checked: Callable[[Any], Row]) -> list[Row]:
    """What `checked` makes of each row; UserError names all that it refuses, and rows that ask for the same."""
    found: dict[tuple[str, Request], Row] = {}
    bad = []
    for given in rows:
        try:
            row = checked(given)
            twin = found.setdefault((row.id, row.request), row)
            if twin is not row:
                raise UserError(
                    f"{row.place}: asks for the same as {twin.place}; give it another seed, or leave it out"
                )
        except UserError as error:
            bad.append(str(error))
    if bad:
        more = [f"and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else []
        raise UserError("\n  ".join([f"{path}: {len(bad)} bad rows; nothing was made:", *bad[:SHOWN], *more]))
    if not found:
        raise UserError(f"{path}: holds no prompt")
    return list(found.values())


def _lines(text: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"line {number}", {"prompt": line.strip()}


def _table(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        if "prompt" not in names:
            raise UserError(f"{path}: no column prompt; found {', '.join(names) or 'nothing'}")
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise UserError(f"{path}: the column {min(twice)} is there twice")
        reader.fieldnames = names
        for row in reader:
            yield f"line {reader.line_num}", row
    except csv.Error as error:
        raise UserError(f"{path}: not a CSV table, at line {reader.line_num}: {error}; mind the quotes") from error


def _row(place: str, cells: Mapping[Any, Any], defaults: Request) -> Row:
    """UserError, beginning with the row's place, for cells that are not allowed."""
    try:
        if None in cells or None in cells.values():
            raise UserError("as many cells as there are columns are needed; quote prompts that have a comma")
        given = {name: str(cells.get(name, "")).strip() for name in COLUMNS}
        request = Request(
            given["prompt"],
            _number("seconds", given["seconds"], float, defaults.seconds),
            _number("tempo", given["tempo"], float, defaults.tempo),
            _number("seed", given["seed"], int, defaults.seed),
        )
        request.check()
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
    return Row(place, given["id"], request)


def _number(name: str, text: str, kind: Callable[[str], Any], default: Any) -> Any:
    try:
        return kind(text) if text else default
    except ValueError:
        raise UserError(f"{name}: {text!r} is no {'whole ' if kind is int else ''}number") from None


def file_name(row: Row, settings: Mapping[str, Any]) -> str:
    """The name of a row's file: words, and a digest of the request and of the `settings` that all rows share."""
    words = re.sub(r"[^a-z0-9]+", "-", (row.id or row.request.prompt).lower())[:MAX_WORDS].strip("-") or "music"
    return f"{words}-{short_digest([row.id, vars(row.request), dict(settings)])}.wav"


def make_all(
    rows: Sequence[Row],
    folder: Path,
    settings: Mapping[str, Any],
    candidates: int,
    make: Callable[[Sequence[Request]], Sequence[Any]],
    report: Callable[[str], None],
) -> None:
    """Make what is not in the folder's index yet, batch by batch; each is in the index once its file is whole.

    settings: all that decides the audio besides the requests. `make` gives a Music for each of several requests of one
    length. Rows of earlier runs stay in the index behind those of this one. UserError where another process fills the folder.
    """
    with _alone_in(folder):
        known = {name: entry for name, entry in _read_index(folder).items() if (folder / name).is_file()}
        names = {file_name(row, settings): row for row in rows}
        missing = [name for name in names if name not in known]
        report(f"{folder}: {len(names)} prompts, {len(names) - len(missing)} of them finished before")
        done = 0
        for batch in _batches(missing, names, candidates):
            for name, music in zip(batch, make([names[name].request for name in batch]), strict=True):
                music.write(folder / name)
                known[name] = _entry(name, names[name], music)
            ordered = [*(name for name in names if name in known), *(name for name in known if name not in names)]
            _write_index(folder, [known[name] for name in ordered])
            done += len(batch)
            report(f"{folder}: {done} of {len(missing)} made")
        if not missing:
            report(f"{folder}: all is there already")


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Make the folder and keep other processes out of it; UserError where one is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / ".lock", blocking=False).acquire()
    except Timeout:
        raise UserError(f"{folder}: another process is filling this folder; wait for it, or name another") from None
    with lock:
        yield


def _batches(missing: Sequence[str], names: Mapping[str, Row], candidates: int) -> Iterator[list[str]]:
    """Names whose requests have one length, as many as a batch holds."""
    for seconds, group in itertools.groupby(
        sorted(missing, key=lambda name: names[name].request.seconds), key=lambda name: names[name].request.seconds
    ):
        size = max(1, min(BATCH_ROWS, int(BATCH_S / seconds)) // candidates)
        own = list(group)
        yield from (own[start : start + size] for start in range(0, len(own), size))


def _entry(name: str, row: Row, music: Any) -> dict[str, Any]:
    request = row.request
    told = music.tempos[music.picked] if music.tempos else request.tempo
    return {
        "file": name, "id": row.id, "prompt": request.prompt, "seconds": request.seconds, "seed": request.seed,
        "tempo": told, "picked": music.picked, "clap": float(music.scores[music.picked]),
    }  # fmt: skip


def _read_index(folder: Path) -> dict[str, dict[str, Any]]:
    if not (folder / INDEX).exists():
        return {}
    import pandas as pd  # a third of a second, which one clip does not need

    try:
        table = pd.read_csv(folder / INDEX, dtype={"id": str, "prompt": str, "file": str}, keep_default_na=False)
        return {str(entry["file"]): entry for entry in table.to_dict("records")}
    except (ValueError, KeyError, OSError) as error:
        raise UserError(f"{folder / INDEX}: not an index that can be read ({error}); move it away") from error


def _write_index(folder: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    import pandas as pd

    files.write_text(folder / INDEX, pd.DataFrame(list(entries)).to_csv(index=False))
