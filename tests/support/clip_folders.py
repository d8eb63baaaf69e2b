"""Folders of clips with their table."""

from pathlib import Path

import numpy as np

from musicgen_lite.io.clips import Clip
from musicgen_lite.sources import folder

RATE = 16000


def tone(seconds: float, rate: int, channels: int = 1, hz: float = 440.0) -> np.ndarray:
    wave = 0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def make(path: Path, rows: list[str], header: str = "file_name,caption") -> Path:
    (path / "metadata.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def gather(path: Path, seconds: float = 2.0) -> tuple[list[Clip], dict[str, str]]:
    rejected: dict[str, str] = {}
    clips = list(folder.clips(path, RATE, seconds, 0.1, 0.1, lambda name, reason: rejected.update({name: reason})))
    return clips, rejected
