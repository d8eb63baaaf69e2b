"""Captioned clips in Parquet shards: what every source hands to the rest of the pipeline."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from musicgen_lite.io.files import read_json, write_json

SPLITS = ("train", "validation", "test")
CLIPS_PER_SHARD = 256
# Few clips to a row group: reading one clip reads little more than its own bytes.
CLIPS_PER_GROUP = 16


@dataclass(frozen=True)
class Clip:
    """One captioned mono waveform.

    samples: float32 `[T]` at `rate` Hz; track_id: clips of one track share a split; extra: other facts that a source
    knows (genre, …); of those `tempo` is in BPM, and `beat_s` seconds from the clip's start to a bar's first beat.
    """

    id: str
    track_id: str
    split: str
    caption: str
    aspects: tuple[str, ...]
    samples: np.ndarray
    rate: int
    extra: dict[str, Any] = field(default_factory=dict)


class ClipWriter:
    """Writes clips to `clips-*.parquet` shards in a directory, with their audio as FLAC bytes."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self._rows: list[dict[str, Any]] = []
        self._shards = 0
        self.count = 0

    def add(self, clip: Clip) -> None:
        """Append one clip. A split outside `SPLITS` raises ValueError."""
        if clip.split not in SPLITS:
            raise ValueError(f"{clip.id}: split {clip.split!r} is none of {SPLITS}")
        row = {
            "id": clip.id, "track_id": clip.track_id, "split": clip.split, "caption": clip.caption,
            "aspects": list(clip.aspects), "sampling_rate": clip.rate, "seconds": len(clip.samples) / clip.rate,
        }  # fmt: skip
        row |= {f"x_{name}": value for name, value in clip.extra.items()}
        row["audio"] = audio.encode_flac(clip.samples, clip.rate)
        self._rows.append(row)
        self.count += 1
        if len(self._rows) == CLIPS_PER_SHARD:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            path = self.directory / f"clips-{self._shards:05d}.parquet"
            pq.write_table(pa.Table.from_pylist(self._rows), path, row_group_size=CLIPS_PER_GROUP, compression="none")
            self._shards += 1
            self._rows = []

    def close(self, rejected: Sequence[dict[str, str]] = ()) -> None:
        """Write the last shard, and the rejected clips with their reasons to `rejected.json`."""
        self._flush()
        write_json(self.directory / "rejected.json", list(rejected))


def _open(path: Path) -> pq.ParquetFile:
    try:
        # No memory map: every page that was read would count as this process's memory.
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a readable Parquet file ({error}); delete it and run `dvc repro`") from error


class ClipStore:
    """Reads the shards that `ClipWriter` wrote; the audio stays on disk until it is asked for.

    Raises UserError naming an unreadable shard, a duplicate id, or an unknown id.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self._files = [_open(path) for path in sorted(self.directory.glob("clips-*.parquet"))]
        parts = []
        for number, file in enumerate(self._files):
            columns = [name for name in file.schema_arrow.names if name != "audio"]
            part = file.read(columns=columns).to_pandas()
            part["_file"], part["_row"] = number, np.arange(len(part))
            parts.append(part)
        self.index: pd.DataFrame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"id": []})
        self._place: dict[str, tuple[int, int]] = {}
        if parts:
            places = zip(self.index["_file"], self.index["_row"], strict=True)
            self._place = dict(zip(self.index["id"], places, strict=True))
        twice = self.index["id"][self.index["id"].duplicated()]
        if len(twice):
            raise UserError(
                f"{self.directory}: the id {twice.iloc[0]!r} occurs twice; run `dvc repro` to make it again"
            )
        self._group: tuple[int, int, list[bytes]] | None = None

    @property
    def rejected(self) -> list[dict[str, str]]:
        """Clips that the source left out, each with `id` and `reason`."""
        return list(read_json(self.directory / "rejected.json"))

    def __len__(self) -> int:
        return len(self.index)

    def split(self, name: str) -> pd.DataFrame:
        """The index rows of one split, in stored order."""
        return self.index[self.index["split"] == name]

    def audio_bytes(self, clip_id: str) -> bytes:
        """The stored FLAC bytes of one clip."""
        if clip_id not in self._place:
            raise UserError(
                f"{self.directory}: no clip {clip_id!r} among its {len(self)}; run `dvc repro` to make it again"
            )
        number, row = self._place[clip_id]
        group, within = divmod(int(row), CLIPS_PER_GROUP)
        # Reading in stored order touches each row group once.
        if self._group is None or self._group[:2] != (number, group):
            column = self._files[number].read_row_group(group, columns=["audio"]).column("audio").to_pylist()
            self._group = (number, group, column)
        return self._group[2][within]

    def samples(self, clip_id: str) -> tuple[np.ndarray, int]:
        """Samples `[T]` and rate of one clip."""
        return audio.decode(self.audio_bytes(clip_id), name=clip_id)

    def __iter__(self) -> Iterator[Clip]:
        for row in self.index.to_dict("records"):
            samples, rate = self.samples(row["id"])
            extra = {key[2:]: value for key, value in row.items() if key.startswith("x_")}
            yield Clip(
                row["id"], row["track_id"], row["split"], row["caption"], tuple(row["aspects"]), samples, rate, extra
            )
