"""Any data set that the `datasets` library reads, of the hub or a local directory, streamed: one row is in memory at a time.

The library gives the encoded bytes, or the file that holds them, and the project's own reader decodes them: the library's
decoding needs another package. Rows of equal bytes are one track, and the split of a track is drawn by the hash of its bytes, so
that a row that goes moves no other.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicgen_lite.compute import IN_THIS_PROCESS, Engine
from musicgen_lite.errors import UserError, first_line, require
from musicgen_lite.io.clips import SPLITS, Clip
from musicgen_lite.io.hashing import SHORT, file_stat, files_in, short_digest
from musicgen_lite.params_data import HubParams
from musicgen_lite.sources import tables
from musicgen_lite.sources.pieces import Cutting, Encoded, Refused, cut_each
from musicgen_lite.sources.tables import Reject, Row

HUB_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Place:
    """Where a data set is: a local directory, or None for one of the hub by its name and revision."""

    name: str
    revision: str
    folder: Path | None


@dataclass(frozen=True)
class Read:
    """A row by its split and number there; of one that can be used its caption, the name that its audio has, and its track."""

    split: str
    number: int
    piece: Encoded | Refused
    caption: str = ""
    file: str = ""
    track: str = ""


def locate(params: HubParams, root: Path) -> Place:
    """The data set that the parameters name; a relative path starts at `root`. UserError without the library or a name."""
    _library()
    if not params.name.strip():
        raise UserError("data.hub.name: empty; name a data set of the hub, such as OWNER/NAME, or a local directory")
    folder = root / Path(params.name).expanduser()
    if folder.is_dir():
        return Place(params.name, params.revision, folder)
    if params.name.startswith((".", "/", "~")) or params.name.count("/") > 1:
        raise UserError(f"data.hub.name: {params.name}: no such folder")
    return Place(params.name, params.revision, None)


def digest(place: Place) -> str:
    """Over the names of a directory's files, their size and time of change; of the hub's, what they are asked for by."""
    if place.folder is None:
        return short_digest([place.name, place.revision])
    return short_digest(
        [(file.relative_to(place.folder).as_posix(), *file_stat(file)) for file in files_in([place.folder])]
    )


def clips(
    place: Place,
    params: HubParams,
    rate: int,
    seconds: float,
    reject: Reject,
    shortest: float | None = None,
    engine: Engine = IN_THIS_PROCESS,
) -> Iterator[Clip]:
    """Clips of exactly `seconds` at `rate` Hz mono of every row that can be used; `reject(id, reason)` is called for the others.

    shortest, engine: as of `folder.clips`. Raises UserError, before the first clip, for a data set, split or column that is not
    there.
    """
    parts = ((row, row.piece) for row in _read_rows(place, params))
    for row, piece, samples in cut_each(engine, Cutting(rate, seconds, shortest), parts, reject):
        own = drawn(row.track, params.validation_fraction, params.test_fraction) if params.split else row.split
        clip = f"{row.split}-{row.number:08d}-{piece:03d}"
        yield Clip(clip, row.track, own, row.caption, (), samples, rate, {"file": row.file})


def drawn(track: str, validation_fraction: float, test_fraction: float) -> str:
    """The split of a track by its hash, 16 hex digits: the same whatever other tracks there are."""
    place = int(track, 16) / 16**SHORT
    return "test" if place < test_fraction else "validation" if place < test_fraction + validation_fraction else "train"


def _library() -> Any:
    return require("datasets", extra="hub", purpose="data.source hub")


def _stream(place: Place, params: HubParams, split: str) -> Any:
    """The rows of a split, whose audio is neither encoded nor decoded. UserError for what is not there."""
    datasets = _library()
    if place.folder is None:
        _check_reachable(place)
    name, revision = str(place.folder or place.name), None if place.folder else place.revision or None
    try:
        found = datasets.load_dataset(name, revision=revision, split=split, streaming=True)
        columns = found.column_names or list(next(iter(found), {}))
    except ValueError as error:
        if "split" not in str(error):
            raise _unreadable(place, error) from error
        hint = "" if params.split else "; without data.hub.split the data set needs its own train, validation and test"
        raise UserError(f"data.hub.split: {place.name}: {first_line(error)}{hint}") from error
    except Exception as error:  # the library raises many types
        raise _unreadable(place, error) from error
    for parameter, column in (("audio", params.audio), ("text", params.text)):
        if column not in columns and (parameter == "audio" or column.partition(".")[0] not in columns):
            raise UserError(f"data.hub.{parameter}: {place.name} has no column {column!r}; found {', '.join(columns)}")
    if found.features is None or not isinstance(found.features[params.audio], datasets.Audio):
        return found
    return found.cast_column(params.audio, _raw(datasets)(decode=False))


def _check_reachable(place: Place) -> None:
    """Raise UserError within seconds where the hub does not give the data set: the library asks for a minute."""
    from huggingface_hub import HfApi

    try:
        HfApi().dataset_info(place.name, revision=place.revision or None, timeout=HUB_TIMEOUT_S)
    except Exception as error:
        raise UserError(
            f"data.hub.name: the hub did not give {place.name!r} at revision {place.revision or 'main'!r} ({first_line(error)}); "
            "check both names and the network, or name a local directory"
        ) from error


def _unreadable(place: Place, error: Exception) -> UserError:
    return UserError(f"data.hub.name: {place.name}: the datasets library cannot read it ({first_line(error)})")


def _raw(datasets: Any) -> Any:
    """The library's feature for audio that takes values as they are: its own imports a decoder even to pass bytes on."""

    class Raw(datasets.Audio):
        def encode_example(self, value: Any) -> dict[str, Any]:
            return _parts(value)

    return Raw


def _parts(value: Any) -> dict[str, Any]:
    """The bytes and the path of a value of audio, None where it has none."""
    if isinstance(value, bytes | str):
        return {"bytes": None, "path": None} | {"bytes" if isinstance(value, bytes) else "path": value}
    return {key: value.get(key) if isinstance(value, dict) else None for key in ("bytes", "path")}


def _rows(place: Place, split: str, stream: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows with their numbers; UserError where the stream breaks off."""
    rows, number = iter(stream), 0
    while True:
        try:
            row = next(rows, None)
        except Exception as error:
            raise UserError(
                f"data.hub.name: {place.name}: {split} cannot be read on after row {number} ({first_line(error)}); run the same "
                "command again"
            ) from error
        if row is None:
            return
        number += 1
        yield number, row


def _cell(row: Mapping[str, Any], column: str) -> Any:
    """A cell by its column, or by a dotted name within one, such as `json.caption` of a WebDataset."""
    if column in row:
        return row[column]
    first, _, rest = column.partition(".")
    inner = row.get(first)
    return _cell(inner, rest) if isinstance(inner, dict) and rest else None


def _read_rows(place: Place, params: HubParams) -> Iterator[Read]:
    """All rows, also those that cannot be used; all streams are opened before the first is read."""
    streams = {split: _stream(place, params, split) for split in ([params.split] if params.split else SPLITS)}
    for split, stream in streams.items():
        for number, row in _rows(place, split, stream):
            name = f"{split} row {number}"
            try:
                caption, file, data = _entry(place, params, row)
            except ValueError as error:
                yield Read(split, number, Refused(name, str(error)))
            else:
                track = hashlib.sha256(data).hexdigest()[:SHORT]
                yield Read(split, number, Encoded(name, data, file), caption, file, track)


def _entry(place: Place, params: HubParams, row: Mapping[str, Any]) -> tuple[str, str, bytes]:
    """The caption of a row, the name that its audio has, and the encoded audio; ValueError says why it cannot be used."""
    text = _cell(row, params.text)
    caption = text.strip() if isinstance(text, str) else ""
    if reason := tables.invalid_caption(Row("", {"caption": caption})):
        raise ValueError(reason)
    data, path = _parts(row.get(params.audio)).values()
    if data is None and not path:
        raise ValueError("audio: none in this row")
    file = Path(str(path or "").partition("::")[0])
    return caption, file.name, _read(place, str(path)) if data is None else data


def _read(place: Place, path: str) -> bytes:
    """The bytes of a file of the data set; ValueError for one that is not there, or another's."""
    if not _belongs(place, path):
        raise ValueError(f"file: {path[:100]!r} leads outside of the data set")
    try:
        with _library().utils.file_utils.xopen(path, "rb") as file:
            return bytes(file.read())
    except Exception as error:  # of the file system that holds it
        raise ValueError(f"file: {path[:100]!r} cannot be read ({first_line(error)})") from error


def _belongs(place: Place, path: str) -> bool:
    """Whether a file, or the archive that it lies in, is the data set's own."""
    outer = path.rpartition("::")[2]
    if place.folder is None:
        return ".." not in outer.split("/") and outer.startswith(
            (f"hf://datasets/{place.name}@", f"hf://datasets/{place.name}/")
        )
    try:
        return Path(outer).resolve().is_relative_to(place.folder.resolve())
    except (OSError, ValueError):
        return False
