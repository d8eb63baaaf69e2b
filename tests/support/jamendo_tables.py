"""Small tables as MTG-Jamendo has them, and the tones behind them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

HEADER = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS"
RATE = 8000
SPLITS = {"train": range(1, 13), "validation": range(13, 17), "test": range(17, 25)}


def path_of(number: int) -> str:
    """PATH of a track: the folder is its last two digits."""
    return f"{number % 100:02d}/{number}.mp3"


def row(number: int, *tags: str, path: str | None = None) -> str:
    """A line of a table: as many cells as there are tags behind the first five."""
    cells = [f"track_{number:07d}", "artist_000001", "album_000001", path_of(number) if path is None else path, "30.0"]
    return "\t".join([*cells, *tags])


def write_tables(folder: Path, rows: Mapping[str, Sequence[str]], subset: str = "autotagging") -> Path:
    """A folder of splits with these rows of each split."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        lines = [HEADER, *rows.get(split, ())]
        (folder / f"{subset}-{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_audio(root: Path, numbers: Sequence[int], suffix: str = ".mp3", seconds: float = 2.6) -> None:
    """A tone of another pitch for each track, in the format that the suffix names."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    for number in numbers:
        file = root / path_of(number).replace(".mp3", suffix)
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, 0.3 * np.sin(2 * np.pi * (200 + 20 * number) * time_s), RATE)


def whole(place: Path, suffix: str = ".mp3", seconds: float = 2.6) -> None:
    """`tables` and `audio` in a folder: 24 tracks in three splits, with one tag more on every other one."""
    tags = ("genre---rock", "instrument---electricguitar", "mood/theme---happy")
    rows = {split: [row(number, *tags[: 2 + number % 2]) for number in numbers] for split, numbers in SPLITS.items()}
    write_tables(place / "tables", rows)
    write_audio(place / "audio", [number for numbers in SPLITS.values() for number in numbers], suffix, seconds)
