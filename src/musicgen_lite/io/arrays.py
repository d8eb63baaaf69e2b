"""Arrays in few large memory-mapped shards, with an index."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from musicgen_lite.errors import UserError
from musicgen_lite.io.files import atomic_path, read_json, write_json, write_table
from musicgen_lite.io.keys import Keys

INDEX = "index.parquet"
META = "meta.json"
SHARDS_OF_A_SIZE = 8
PLACE = ("shard", "offset", "length")
NO_PLACES = pa.table({"key": pa.array([], pa.string()), **{name: pa.array([], pa.int64()) for name in PLACE}})


class ArrayWriter:
    """Collects arrays `[T, D]` of one dtype into `.npy` shards with a Parquet index and a `meta.json`.

    A shard is written once it has `arrays_per_shard` arrays, twice as many after every eighth shard, or `bytes_per_shard`
    bytes: neither memory nor the number of files grows in step with the arrays. In the directory of an earlier writer of the same arrays that was stopped, it resumes after the last
    whole shard: add what is not yet `in` it, in the same order. The writer does not rename: give it a directory within
    one of `atomic_dir` or `resumable_dir`.
    """

    def __init__(
        self, directory: str | Path, dtype: str | np.dtype, arrays_per_shard: int = 256, bytes_per_shard: int = 2**25
    ) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.dtype = np.dtype(dtype)
        self.arrays_per_shard, self.bytes_per_shard = arrays_per_shard, bytes_per_shard
        self._rows: list[dict[str, Any]] = []
        self._pending: list[np.ndarray] = []
        self._frames = 0  # of the pending arrays
        self._keys: set[str] = set()
        self._shards = 0
        while (rows := self._rows_of(self._shards)).is_file():
            self._keys.update(pd.read_parquet(rows, columns=["key"])["key"])
            self._shards += 1

    def _rows_of(self, shard: int) -> Path:
        """The index of one shard, written after it: if it exists, the shard is whole."""
        return self.directory / f"rows-{shard:05d}.parquet"

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def add(self, key: str, array: np.ndarray, **columns: Any) -> None:
        """Append one array `[T, D]` under a unique `key`, ValueError for one that is there; `columns` go into the index."""
        if array.ndim != 2:
            raise ValueError(f"{key}: expected [T, D], found shape {array.shape}")
        if key in self:
            raise ValueError(f"duplicate key: {key}")
        self._keys.add(key)
        self._rows.append({"key": key, "shard": self._shards, "offset": self._frames, "length": len(array), **columns})
        self._pending.append(array.astype(self.dtype, copy=False))
        self._frames += len(array)
        held = self._frames * array.shape[1] * self.dtype.itemsize
        if (
            len(self._pending) >= self.arrays_per_shard << self._shards // SHARDS_OF_A_SIZE
            or held >= self.bytes_per_shard
        ):
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        with atomic_path(self.directory / f"shard-{self._shards:05d}.npy") as part:
            np.save(part, np.concatenate(self._pending))
        write_table(self._rows_of(self._shards), pd.DataFrame(self._rows))
        self._shards += 1
        self._pending, self._rows, self._frames = [], [], 0

    def close(self, meta: Mapping[str, Any]) -> None:
        """Write the last shard, the index and `meta`."""
        self._flush()
        parts = [self._rows_of(shard) for shard in range(self._shards)]
        index = pd.concat(map(pd.read_parquet, parts), ignore_index=True) if parts else pd.DataFrame()
        write_table(self.directory / INDEX, index)
        write_json(
            self.directory / META, {**meta, "dtype": self.dtype.str, "shards": self._shards, "arrays": len(index)}
        )
        for part in reversed(parts):
            part.unlink()


class ArrayStore:
    """Reads what `ArrayWriter` wrote; `store[key]` is a read-only memory-mapped view `[T, D]`.

    keys: in the order of the `index`, a table with a row each; starts, lengths: of each array in its shard, int64 `[n]`.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self.meta: dict[str, Any] = read_json(self.directory / META)
        places = pq.read_table(self.directory / INDEX, columns=["key", *PLACE]) if self.meta["arrays"] else NO_PLACES
        self._keys = Keys(places["key"])
        self._shards, self.starts, self.lengths = (places[name].to_numpy() for name in PLACE)
        self._maps: dict[int, np.ndarray] = {}

    @cached_property
    def index(self) -> pd.DataFrame:
        """The whole index: `key`, `shard`, `offset`, `length` and the columns that the writer was given."""
        return pd.read_parquet(self.directory / INDEX)

    @property
    def keys(self) -> list[str]:
        return self._keys.list()

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._keys.row(key) >= 0

    def rows(self, keys: Sequence[str] | pa.ChunkedArray) -> np.ndarray:
        """The row in the index of each of `keys`, int64 `[n]`; -1 where there is none."""
        return self._keys.rows(keys)

    def key(self, row: int) -> str:
        """The key of a row in the index."""
        return self._keys.key(row)

    def row(self, key: str) -> int:
        """The row of a key in the index; UserError where there is none."""
        if (row := self._keys.row(key)) < 0:
            raise UserError(f"{self.directory}: no entry {key!r} among its {len(self)}; run `dvc repro` to rebuild it")
        return row

    def __getitem__(self, key: str) -> np.ndarray:
        row = self.row(key)
        start = self.starts[row]
        return self.shard(int(self._shards[row]))[start : start + self.lengths[row]]

    def shard(self, number: int) -> np.ndarray:
        """The arrays of one shard, one after the other."""
        if number not in self._maps:
            self._maps[number] = np.load(self.directory / f"shard-{number:05d}.npy", mmap_mode="r")
        return self._maps[number]

    def shards(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Each shard with its rows of the index, in the order of their arrays."""
        for number in range(self.meta["shards"]):
            yield self.shard(number), np.flatnonzero(self._shards == number)
