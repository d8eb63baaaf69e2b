"""MTG-Jamendo (Bogdanov et al. 2019): tracks under Creative Commons licences, tagged with genre, instrument, mood and theme.

Its tables are tab-separated: TRACK_ID, ARTIST_ID, ALBUM_ID, PATH and DURATION, and from the sixth column on one tag a column, so
that rows have different lengths. The official splits are by artist, a table each. The audio is a local copy of `raw_30s`, or of
what was made of it, such as the instrumental stems of the ATTM challenge: both lie at PATH, the stems under another ending.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from musicgen_lite.compute import IN_THIS_PROCESS, Engine
from musicgen_lite.errors import UserError
from musicgen_lite.io.clips import SPLITS, Clip
from musicgen_lite.io.hashing import file_sha256, file_stat, short_digest
from musicgen_lite.params_data import JamendoParams
from musicgen_lite.sources import tables
from musicgen_lite.sources.file_lookup import FileLookup
from musicgen_lite.sources.pieces import Cutting, FilePart, cut_each
from musicgen_lite.sources.tables import Reject, Row

HEADER = ("TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS")
SEPARATOR = "---"  # between a tag's category and its word
GENRE, INSTRUMENT, MOOD = "genre", "instrument", "mood/theme"
# What a table writes as one word, as one reads it; other tags are words as they are.
SPELLED = {
    "acousticbassguitar": "acoustic bass guitar", "acousticguitar": "acoustic guitar", "classicalguitar": "classical guitar",
    "doublebass": "double bass", "drummachine": "drum machine", "electricguitar": "electric guitar",
    "electricpiano": "electric piano", "pipeorgan": "pipe organ", "deephouse": "deep house", "drumnbass": "drum and bass",
    "easylistening": "easy listening", "electropop": "electro pop", "hardrock": "hard rock", "hiphop": "hip hop",
    "newage": "new age", "newwave": "new wave", "poprock": "pop rock", "popfolk": "pop folk", "punkrock": "punk rock",
    "singersongwriter": "singer-songwriter", "synthpop": "synth pop", "triphop": "trip hop", "worldfusion": "world fusion",
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where the data set lies: a table for each split, the folder of the audio, and the captions' file, if any.

    suffix: what follows a track's number in the names of its files, such as `_instrumental.mp3`.
    """

    tables: Mapping[str, Path]
    audio: Path
    suffix: str
    captions: Path | None


@dataclass(frozen=True)
class Entry:
    """A valid row: the file and its name on disk, its track and split, its caption and its tags as words."""

    place: str
    path: Path
    name: str
    track: str
    split: str
    caption: str
    tags: tuple[str, ...]
    genre: str | None


def locate(params: JamendoParams, root: Path) -> Place:
    """The place that the parameters name; relative paths start at `root`. UserError names what is not there."""
    for parameter, value in (("tables", params.tables), ("audio", params.audio)):
        if not value:
            raise UserError(f"data.jamendo.{parameter}: empty; name {_WANTED[parameter]} (docs/attm.md)")
        if not (root / Path(value).expanduser()).is_dir():
            raise UserError(f"data.jamendo.{parameter}: {value}: no such folder; name {_WANTED[parameter]}")
    folder = root / Path(params.tables).expanduser()
    found = {split: folder / f"{params.subset}-{split}.tsv" for split in SPLITS}
    captions = root / Path(params.captions).expanduser() if params.captions else None
    for parameter, path in [*(("tables", table) for table in found.values()), ("captions", captions)]:
        if path is not None and not path.is_file():
            raise UserError(f"data.jamendo.{parameter}: {path}: no such file; name {_WANTED[parameter]}")
    return Place(found, root / Path(params.audio).expanduser(), params.suffix, captions)


_WANTED = {
    "tables": "one of the folders data/splits/split-0 to split-4 of MTG-Jamendo's repository, with the tables of "
    "data.jamendo.subset: …-train.tsv, …-validation.tsv, …-test.tsv",
    "audio": "the folder that holds 00/ to 99/",
    "captions": "a JSON file with a caption for each track, or nothing for captions made of tags",
}


def digest(place: Place) -> str:
    """Over the tables, the captions and each named file's size and time of change: an equal digest means no import is due."""
    names = FileLookup(place.audio, "PATH")
    stats: list[tuple[str | int, ...]] = []
    for row, _ in _rows(place, reject=lambda name, reason: None):
        name = file_name(row.cells["PATH"], place.suffix)
        found = names.find(name)
        stats.append((found,) if isinstance(found, str) else (name, *file_stat(found[0])))
    read = [*place.tables.values(), *([place.captions] if place.captions else [])]
    return short_digest([[file_sha256(path) for path in read], place.suffix, stats])


def texts(place: Place) -> list[str]:
    """The valid captions of all rows, whether or not there is audio."""
    given = _captions(place.captions, reject=lambda name, reason: None)
    found = (_described(row, given) for row, _ in _rows(place, reject=lambda name, reason: None))
    return [caption for caption, *_, reason in found if not reason]


def clips(
    place: Place,
    rate: int,
    seconds: float,
    per_track: int,
    reject: Reject,
    shortest: float | None = None,
    engine: Engine = IN_THIS_PROCESS,
) -> Iterator[Clip]:
    """Clips of exactly `seconds` at `rate` Hz mono of every valid row; `reject(id, reason)` is called for the others.

    per_track: at most so many of a track, from its start; 0: all. shortest, engine: as of `folder.clips`.
    """
    parts = ((entry, FilePart(f"{entry.place} ({entry.name})", entry.path)) for entry in read(place, reject))
    for entry, number, samples in cut_each(engine, Cutting(rate, seconds, shortest, per_track), parts, reject):
        yield Clip(
            f"{entry.track}-{number:03d}", entry.track, entry.split, entry.caption, entry.tags, samples, rate,
            {"file": entry.name, "genre": entry.genre},
        )  # fmt: skip


def read(place: Place, reject: Reject) -> list[Entry]:
    """The rows that are valid by tables and captions and have a file, which is not opened.

    Raises UserError for a track that is in two splits.
    """
    names, given = FileLookup(place.audio, "PATH"), _captions(place.captions, reject)
    entries, first = list[Entry](), dict[str, tuple[str, str]]()
    for row, split in _rows(place, reject):
        track = row.get("TRACK_ID")
        where, seen = first.setdefault(track, (split, row.place))
        found = names.find(file_name(row.cells["PATH"], place.suffix))
        caption, tags, genre, reason = _described(row, given)
        if where != split:
            raise UserError(f"{place.tables[split]}: track {track!r} is in both {where} and {split}; leave one out")
        if seen != row.place:
            reason = f"duplicate: the same track as {seen}"
        if reason or isinstance(found, str):
            reject(f"{row.place} ({track[:40]})", reason or str(found))
        else:
            entries.append(Entry(row.place, *found, track, split, caption, tags, genre))
    return entries


def file_name(path: str, suffix: str) -> str:
    """The name of a track's file: its PATH with another ending; '' for an empty one."""
    return str(PurePosixPath(path.strip()).with_suffix("")) + suffix if path.strip() else ""


def track_number(name: str) -> str:
    """The number by which captions and tables agree on a track: of `track_0000948`, `948` or `48/948_instrumental.mp3` 948."""
    match = re.match(r"(?:track_)?0*(\d+)", PurePosixPath(name.strip()).name)
    return match[1] if match else ""


def _rows(place: Place, reject: Reject) -> Iterator[tuple[Row, str]]:
    """The rows of all tables with their splits; the cell TAGS holds a row's tags, a line each."""
    for split, table in place.tables.items():
        header, *lines = tables.read_text(table, f"its columns are {', '.join(HEADER)}").splitlines() or [""]
        if tuple(header.split("\t")[: len(HEADER)]) != HEADER:
            raise UserError(
                f"{table}: not a table of MTG-Jamendo: it begins with {header[:80]!r}, not with {', '.join(HEADER)} between tabs"
            )
        for number, line in enumerate(lines, 2):
            cells = line.split("\t")
            row = f"{table.name} row {number}"
            if line.strip() and (len(cells) < len(HEADER) - 1 or not cells[0].strip()):
                reject(row, f"not a row: {len(cells)} cells, at least {len(HEADER) - 1} and a TRACK_ID are needed")
            elif line.strip():
                yield Row(row, dict(zip(HEADER, [*cells[:5], "\n".join(cells[5:])], strict=True))), split


def _captions(path: Path | None, reject: Reject) -> dict[str, str]:
    """The caption of each track's number: of a list of objects with `path` and `caption`, or of an object of captions by track.

    Raises UserError for a file that is no such JSON; a caption that cannot be used is rejected.
    """
    if path is None:
        return {}
    try:
        tree = json.loads(tables.read_text(path, "it holds a caption for each track"))
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error
    if isinstance(tree, list):
        pairs = [(one.get("path"), one.get("caption")) if isinstance(one, dict) else (None, None) for one in tree]
    elif isinstance(tree, dict):
        pairs = list(tree.items())
    else:
        raise UserError(
            f"{path}: expected a list of objects with path and caption, or an object of captions by track, found "
            f"{type(tree).__name__}"
        )
    found: dict[str, str] = {}
    for number, (name, caption) in enumerate(pairs, 1):
        track = track_number(name) if isinstance(name, str) else ""
        if track and isinstance(caption, str):
            found[track] = caption
        else:
            reject(f"{path.name} entry {number}", "caption: a track's path or number and a text are needed")
    return found


def _described(row: Row, given: Mapping[str, str]) -> tuple[str, tuple[str, ...], str | None, str | None]:
    """A row's caption, its tags as words, its first genre, and why the row cannot be used, if so.

    The caption is the one that is given for the track, else made of its tags.
    """
    by_category: dict[str, list[str]] = {GENRE: [], INSTRUMENT: [], MOOD: []}
    for tag in filter(None, map(str.strip, row.get("TAGS").split("\n"))):
        category, _, word = tag.partition(SEPARATOR)
        if category not in by_category or not word:
            return (
                "",
                (),
                None,
                f"tags: {tag[:80]!r} is none; allowed is {', '.join(by_category)}, each with {SEPARATOR}",
            )
        by_category[category].append(SPELLED.get(word, word))
    tags = tuple(word for words in by_category.values() for word in words)
    genre = next(iter(by_category[GENRE]), None)
    caption = given.get(track_number(row.get("PATH")), "").strip()
    if not caption and not tags:
        return "", (), None, "tags: none, and no caption is given for the track"
    caption = caption or of_tags(by_category[GENRE], by_category[INSTRUMENT], by_category[MOOD])
    return caption, tags, genre, tables.invalid_caption(Row(row.place, {"caption": caption}))


def of_tags(genres: list[str], instruments: list[str], moods: list[str]) -> str:
    """A caption that says the tags, each kind where there is one."""
    what = f"{_listed(genres)} piece" if genres else "piece of music"
    played = f" featuring {_listed(instruments)}" if instruments else ""
    mood = f"; mood and theme: {', '.join(moods)}" if moods else ""
    return f"{'An' if what[0] in 'aeiou' else 'A'} {what}{played}{mood}."


def _listed(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
