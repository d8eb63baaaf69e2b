"""Captioned clips in Parquet shards: what every source hands to the rest of the pipeline."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from musicgen_lite.io.files import atomic_path, read_json, write_json
from musicgen_lite.io.keys import Keys

SPLITS = ("train", "validation", "test")
CLIPS_PER_SHARD = 256
# Few clips to a row group: reading one clip reads little more than its own bytes.
CLIPS_PER_GROUP = 16
OPEN_FILES = 16
LISTS = pa.list_(pa.string())  # kept as Arrow has them: a million clips' lists in Python would take a gigabyte


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
    """Writes clips to `clips-*.parquet` shards in a directory, with their audio as FLAC bytes.

    shards: whole ones that an earlier writer has left there, with `begun` clips, after which this one goes on. count: all clips.
    """

    def __init__(self, directory: str | Path, shards: int = 0) -> None:
        self.directory = Path(directory)
        self._rows: list[dict[str, Any]] = []
        self.shards = shards
        self.begun = self.count = shards * CLIPS_PER_SHARD

    def add(self, clip: Clip) -> bool:
        """Append one clip, and tell whether that made a shard whole. A split outside `SPLITS` raises ValueError."""
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
        return not self._rows

    def _flush(self) -> None:
        if self._rows:
            table = pa.Table.from_pylist(self._rows)
            with atomic_path(self.directory / f"clips-{self.shards:05d}.parquet") as part:
                pq.write_table(table, part, row_group_size=CLIPS_PER_GROUP, compression="none")
            self.shards += 1
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


def _facts(path: Path) -> pa.Table:
    """All columns of a shard but the audio."""
    with _open(path) as file:
        return file.read(columns=[name for name in file.schema_arrow.names if name != "audio"])


class ClipStore:
    """Reads the shards that `ClipWriter` wrote; the audio stays on disk until it is asked for, and few files are open.

    Raises UserError naming an unreadable shard, a duplicate id, or an unknown id.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self._paths = sorted(self.directory.glob("clips-*.parquet"))
        parts = [_facts(path) for path in self._paths]
        self._starts = np.cumsum([0, *map(len, parts)])  # the first row of each shard
        table = (
            pa.concat_tables(parts, promote_options="permissive")
            if parts
            else pa.table({"id": pa.array([], pa.string())})
        )
        self.index: pd.DataFrame = table.to_pandas(
            types_mapper={LISTS: pd.ArrowDtype(LISTS)}.get, split_blocks=True, self_destruct=True
        )
        self._keys = Keys(pa.chunked_array(self.index["id"].array.__arrow_array__()))
        if self._keys.duplicates:
            twice = self.index["id"][self.index["id"].duplicated()]
            raise UserError(
                f"{self.directory}: the id {twice.iloc[0]!r} occurs twice; run `dvc repro` to make it again"
            )
        self._open = lru_cache(maxsize=OPEN_FILES)(_open)
        self._group: tuple[int, int, list[bytes]] | None = None

    @property
    def rejected(self) -> list[dict[str, str]]:
        """Clips that the source left out, each with `id` and `reason`."""
        return list(read_json(self.directory / "rejected.json"))

    def __len__(self) -> int:
        return len(self.index)

    def __contains__(self, clip_id: object) -> bool:
        return isinstance(clip_id, str) and self._keys.row(clip_id) >= 0

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of the index in stored order, a few of which are in memory at a time."""
        for start in range(0, len(self), CLIPS_PER_SHARD):
            yield from self.index[start : start + CLIPS_PER_SHARD].to_dict("records")

    def split(self, name: str) -> pd.DataFrame:
        """The index rows of one split, in stored order."""
        return self.index[self.index["split"] == name]

    def _row(self, clip_id: str) -> int:
        if (row := self._keys.row(clip_id)) < 0:
            raise UserError(
                f"{self.directory}: no clip {clip_id!r} among its {len(self)}; run `dvc repro` to make it again"
            )
        return row

    def seconds(self, clip_id: str) -> float:
        """The length of one clip."""
        return float(self.index["seconds"].iloc[self._row(clip_id)])

    def audio_bytes(self, clip_id: str) -> bytes:
        """The stored FLAC bytes of one clip."""
        row = self._row(clip_id)
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        group, within = divmod(row - int(self._starts[number]), CLIPS_PER_GROUP)
        # Reading in stored order touches each row group once.
        if self._group is None or self._group[:2] != (number, group):
            file = self._open(self._paths[number])
            self._group = (number, group, file.read_row_group(group, columns=["audio"]).column("audio").to_pylist())
        return self._group[2][within]

    def samples(self, clip_id: str) -> tuple[np.ndarray, int]:
        """Samples `[T]` and rate of one clip."""
        return audio.decode(self.audio_bytes(clip_id), name=clip_id)

    def __iter__(self) -> Iterator[Clip]:
        for row in self.rows():
            samples, rate = self.samples(row["id"])
            extra = {key[2:]: value for key, value in row.items() if key.startswith("x_")}
            yield Clip(
                row["id"], row["track_id"], row["split"], row["caption"], tuple(row["aspects"]), samples, rate, extra
            )
