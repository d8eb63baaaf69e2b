"""Another system in a model's place: a folder of the audio that it made, and a table of the prompts that it made it for.

The table is CSV or JSON lines. Its columns are `file_name` (or `file`), relative to the folder, and `id`, that of the test clip
whose caption was the prompt, or `caption` (or `prompt`), a text of one's own. What `generate --prompts` writes is such a folder.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from musicgen_lite.io.hashing import file_sha256, file_stat, short_digest
from musicgen_lite.io.progress import track
from musicgen_lite.sources import tables
from musicgen_lite.sources.file_lookup import FileLookup
from musicgen_lite.sources.tables import Row

Reject = Callable[[str, str], None]
PROMPTS = "prompts.csv"  # in the folder of the audio, where nothing else is named
FILE, CAPTION, ID = ("file_name", "file"), ("caption", "prompt"), "id"
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff")
BY_FFMPEG = (".m4a", ".mp4", ".aac", ".webm")  # listed, so that they are named, but not read here
MARGIN_S = 0.1  # read beyond what is taken, so that resampling does not fade out within it
TOLERANCE_S = 0.01  # of a length
SHORTEST_S = 1.0  # of a clip that is taken whole: a window of the codec's and of the mel space


def audio_files(folder: Path) -> dict[str, Path]:
    """The audio files in a folder and the folders below it by their names in it, sorted; what is hidden is left out.

    Raises UserError where there is no folder, or no audio in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    names = {
        name.as_posix(): path
        for name, path in found.items()
        if name.suffix.lower() in SUFFIXES + BY_FFMPEG and not any(part.startswith(".") for part in name.parts)
    }
    if not names:
        raise UserError(f"{folder}: holds no audio; {', '.join(SUFFIXES)} are read")
    return dict(sorted(names.items()))


@dataclass(frozen=True)
class Cut:
    """How files become clips: at most their first `seconds`, at `rate` Hz; None leaves the length or the rate as it is."""

    seconds: float | None = None
    rate: int | None = None

    def read(self, path: Path) -> tuple[np.ndarray, int]:
        """Samples `[T]`, the mean over channels, and their rate. Raises UserError for what is not audio."""
        samples, rate_in = audio.read(path, end_s=self.seconds)
        rate = self.rate or rate_in
        return audio.resample(audio.to_mono(samples), rate_in, rate), rate


@dataclass(frozen=True)
class Heard:
    """What is known of a file that was read: the length of its clip and its rate, and whether it is silent."""

    seconds: float
    rate: int
    silent: bool


def listen(
    files: Iterable[tuple[str, Path]], cut: Cut, reject: Reject, label: str, shortest: float
) -> dict[str, Heard]:
    """Read every file once; `reject(name, reason)` is called for each that gives no clip of `shortest` seconds.

    A silent file gives a clip: it is for whoever scores it to count it.
    """
    found: dict[str, Heard] = {}
    for name, path in track(files, label, unit="file"):
        clip = _clip(path, cut, shortest)
        if isinstance(clip, str):
            reject(name, clip)
        else:
            samples, rate = clip
            found[name] = Heard(len(samples) / rate, rate, _is_silent(samples))
    return found


def _clip(path: Path, cut: Cut, shortest: float) -> tuple[np.ndarray, int] | str:
    """The samples of a file and their rate, or why it gives no clip."""
    if path.suffix.lower() in BY_FFMPEG:
        return "not audio: convert it to wav or flac, as with ffmpeg"
    try:
        samples, rate = cut.read(path)
    except UserError as error:
        return f"not audio: {str(error).removeprefix(f'{path}: not audio that can be read ')}"
    reason = audio.invalid_reason(samples, rate, shortest)
    return reason if reason and not reason.startswith("silent") else (samples, rate)


def _is_silent(samples: np.ndarray) -> bool:
    return audio.rms_db(samples) < audio.SILENCE_DB


@dataclass(frozen=True)
class Piece:
    """A row whose file is there: its place in the table, the file, its name in the folder, and its prompt.

    id: of a test clip, caption: of its own; "" where the table says nothing.
    """

    place: str
    path: Path
    name: str
    id: str
    caption: str


def read_table(table: Path, folder: Path, reject: Reject) -> list[Piece]:
    """The rows of a table of prompts; `reject(place, reason)` is called for each that cannot be used.

    Raises UserError for a file that is no such table, or has neither captions nor ids.
    """
    rows = tables.read(table, (), reject)
    columns = dict.fromkeys(name for row in rows for name in row.cells)
    file, caption = (next((name for name in names if name in columns), "") for names in (FILE, CAPTION))
    if not file or not (caption or ID in columns):
        given = ", ".join(columns) or "nothing"
        raise UserError(
            f"{table}: a column {' or '.join(FILE)} is needed, and {', '.join((ID, *CAPTION))} or several of them; found {given}"
        )
    names, pieces, taken = FileLookup(folder), list[Piece](), dict[Path, str]()
    for row in rows:
        read_as = Row(row.place, {"caption": row.get(caption)})
        found = names.find(row.cells.get(file, ""))
        place = f"{row.place} ({row.get(file)[:100]})"
        if isinstance(found, str):
            reject(place, found)
        elif not row.get(ID) and (reason := tables.invalid_caption(read_as)):
            reject(place, reason)
        elif (first := taken.setdefault(found[0], row.place)) != row.place:
            reject(place, f"duplicate: the same file as {first}")
        else:
            pieces.append(Piece(row.place, found[0], Path(found[1]).as_posix(), row.get(ID), row.get(caption)))
    return pieces


@dataclass(frozen=True)
class Place:
    """Where a system's audio and its table of prompts lie."""

    folder: Path
    table: Path

    @classmethod
    def of(cls, audio: str, prompts: str, root: Path) -> "Place":
        """The place that the parameters name; relative paths start at `root`."""
        folder = root / Path(audio).expanduser()
        return cls(folder, root / Path(prompts).expanduser() if prompts else folder / PROMPTS)

    def pieces(self, reject: Reject) -> list[Piece]:
        """The rows whose files are there. UserError where there is no such folder or table."""
        if not self.folder.is_dir():
            raise UserError(f"model.external.audio: {self.folder}: no such folder")
        return read_table(self.table, self.folder, reject)

    def digest(self) -> str:
        """Over the table and each named file's size and time of change: an equal digest means nothing to take anew.

        UserError where fewer than two rows have a file.
        """
        missing: list[tuple[str, str]] = []
        pieces = self.pieces(lambda place, reason: missing.append((place, reason)))
        if len(pieces) < 2:
            first = "".join(f"; {place}: {reason}" for place, reason in missing[:1])
            raise UserError(f"{self.table}: {len(pieces)} rows have a file in {self.folder}, 2 are needed{first}")
        return short_digest([file_sha256(self.table), [(one.name, *file_stat(one.path)) for one in pieces], missing])


def paired(pieces: Sequence[Piece], captions: Mapping[str, str], reject: Reject) -> dict[str, Piece]:
    """Pieces by the test prompt that they were made for, in the order of `captions`: the captions of test prompts by id.

    A table without ids has captions of its own, which get ids of their own. `reject` is told of each row that belongs to no
    prompt, and of each prompt without a row. UserError where the ids are those of no test prompt.
    """
    if not any(piece.id for piece in pieces):
        return {f"own-{number:04d}": piece for number, piece in enumerate(pieces)}
    found: dict[str, Piece] = {}
    for piece in pieces:
        reason = _unpaired(piece, captions, found)
        if reason:
            reject(f"{piece.place} ({piece.name})", reason)
        else:
            found[piece.id] = piece
    if not found:
        raise UserError(
            f"none of {len(pieces)} rows belongs to a test prompt; the column id holds theirs, such as {next(iter(captions))!r} "
            f"(data/reference/prompts.csv has them all), not {next(one.id for one in pieces if one.id)!r}; without that column "
            "captions of its own are scored"
        )
    for prompt in captions:
        if prompt not in found:
            reject(prompt, "prompt: no audio for it")
    return {prompt: found[prompt] for prompt in captions if prompt in found}


def _unpaired(piece: Piece, captions: Mapping[str, str], found: Mapping[str, Piece]) -> str:
    """Why a piece is not for a test prompt, or for one that has another; "" where it is for one."""
    if piece.id not in captions:
        return f"id: {piece.id!r} is none of the {len(captions)} test prompts" if piece.id else "id: empty"
    if piece.id in found:
        return f"duplicate: the same prompt as {found[piece.id].place}"
    if piece.caption and piece.caption.split() != captions[piece.id].split():
        return f"caption: another than that of the test clip {piece.id}"
    return ""


@dataclass(frozen=True)
class Taken:
    """Samples `[T]` of exactly the length that was asked for, and whether the file goes on, or is silent."""

    samples: np.ndarray
    longer: bool
    silent: bool


def take(path: Path, seconds: float, rate: int) -> Taken | str:
    """The first `seconds` of a file at `rate` Hz, or why it has none; silence where music was asked for is taken."""
    clip = _clip(path, Cut(seconds + MARGIN_S, rate), seconds)
    if isinstance(clip, str):
        return clip
    samples, length = clip[0], round(seconds * rate)
    longer = len(samples) > length + TOLERANCE_S * rate
    samples = np.pad(samples[:length], (0, max(0, length - len(samples))))
    return Taken(samples, longer, _is_silent(samples))


def takes(
    pieces: Mapping[str, Piece], seconds: Callable[[str], float], rate: int, reject: Reject
) -> Iterator[tuple[str, Piece, Taken]]:
    """Each piece with its prompt and its audio; `seconds` says how long that of a prompt is. `reject` is told of the others."""
    for prompt, piece in track(pieces.items(), "take audio", len(pieces), "clip"):
        taken = take(piece.path, seconds(prompt), rate)
        if isinstance(taken, str):
            reject(f"{piece.place} ({piece.name})", taken)
        else:
            yield prompt, piece, taken
