"""Another system in a model's place: a folder of the audio that it made, and a table of the prompts that it made it for.

The table is CSV or JSON lines. Its columns are `file_name` (or `file`), relative to the folder, and `id`, that of the test clip
whose caption was the prompt, or `caption` (or `prompt`), a text of one's own. What `generate --prompts` writes is such a folder.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from musicgen_lite.io.progress import track
from musicgen_lite.sources import tables
from musicgen_lite.sources.file_lookup import FileLookup
from musicgen_lite.sources.tables import Row

Reject = Callable[[str, str], None]
FILE, CAPTION, ID = ("file_name", "file"), ("caption", "prompt"), "id"
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff")
BY_FFMPEG = (".m4a", ".mp4", ".aac", ".webm")  # listed, so that they are named, but not read here
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
        heard = _heard(path, cut, shortest)
        if isinstance(heard, str):
            reject(name, heard)
        else:
            found[name] = heard
    return found


def _heard(path: Path, cut: Cut, shortest: float) -> Heard | str:
    """What is known of a file, or why it gives no clip."""
    if path.suffix.lower() in BY_FFMPEG:
        return "not audio: convert it to wav or flac, as with ffmpeg"
    try:
        samples, rate = cut.read(path)
    except UserError as error:
        return f"not audio: {str(error).removeprefix(f'{path}: not audio that can be read ')}"
    reason = audio.invalid_reason(samples, rate, shortest)
    silent = bool(reason and reason.startswith("silent"))
    return Heard(len(samples) / rate, rate, silent) if silent or not reason else reason


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
