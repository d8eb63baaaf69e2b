"""Small MusicCaps tables and the sounds behind them."""

import csv
import io
from pathlib import Path

import numpy as np
import soundfile

HEADER = "ytid,start_s,end_s,audioset_positive_labels,aspect_list,caption,author_id,is_balanced_subset,is_audioset_eval"


COLUMNS = HEADER.split(",")


RATE = 8000


def row(ytid: str, start: float = 0, end: float = 2, caption: str = "Music.", held_out: bool = False) -> list[str]:
    return [ytid, str(start), str(end), "/m/04rlf", "['loud', 'e-bass']", caption, "1", "False", str(held_out)]


def write_table(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return path


def marked(seconds: float, rate: int = RATE) -> np.ndarray:
    """A tone whose pitch names the second: 500 Hz in the first, 20 Hz more in each later one."""
    time_s = np.arange(round(seconds * rate)) / rate
    phase = np.cumsum(500 + 20 * np.floor(time_s)) / rate
    return (0.3 * np.sin(2 * np.pi * phase)).astype(np.float32)


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV")
    return buffer.getvalue()
