"""Rows of a table found by unique string keys, in memory that millions of keys fit into."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

CHUNK = 1 << 16  # keys that are Python strings at the same time


def _hashes(keys: Sequence[str] | pa.ChunkedArray) -> np.ndarray:
    """A 64-bit hash of each key, uint64 `[n]`."""
    parts = [np.empty(0, np.uint64)]
    for start in range(0, len(keys), CHUNK):
        some = keys[start : start + CHUNK]
        objects = np.empty(len(some), dtype=object)
        objects[:] = some.to_pylist() if isinstance(some, pa.ChunkedArray) else some
        parts.append(pd.util.hash_array(objects, categorize=False))
    return np.concatenate(parts)


class Keys:
    """Unique keys, in the order of their rows; 16 bytes a key beside its text.

    A key is found by its hash among the sorted ones, and compared: two keys of one hash are told apart.
    """

    def __init__(self, keys: pa.ChunkedArray) -> None:
        self.keys = keys.combine_chunks().cast(pa.large_string())
        hashes = _hashes(keys)
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]
        same = np.flatnonzero(self._hashes[1:] == self._hashes[:-1])
        rows = [int(row) for row in self._order[np.unique(np.concatenate([same, same + 1]))]]
        self._shared = {self.keys[row].as_py(): row for row in rows}
        self.duplicates = len(rows) - len(self._shared)

    def key(self, row: int) -> str:
        """The key of a row."""
        return str(self.keys[int(row)].as_py())

    def list(self) -> list[str]:
        """All keys."""
        return list(self.keys.to_pylist())

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self, keys: Sequence[str] | pa.ChunkedArray) -> np.ndarray:
        """The row of each of `keys`, int64 `[n]`; -1 where there is none."""
        if not len(self):
            return np.full(len(keys), -1)
        asked = keys if isinstance(keys, pa.ChunkedArray) else pa.chunked_array([keys], pa.large_string())
        asked = asked.cast(pa.large_string()).combine_chunks()
        if asked.equals(self.keys):  # as those of two stores of the same clips
            return np.arange(len(self))
        rows = self._order[np.searchsorted(self._hashes, _hashes(keys)).clip(max=len(self) - 1)]
        same = pc.equal(asked, self.keys.take(pa.array(rows)))
        rows = np.where(same.to_numpy(zero_copy_only=False), rows, -1)
        if self._shared:
            rows = np.array([self._shared.get(key, row) for key, row in zip(asked.to_pylist(), rows, strict=True)])
        return rows

    def row(self, key: str) -> int:
        """The row of a key, -1 where there is none."""
        if not len(self):
            return -1
        row = int(self._order[min(np.searchsorted(self._hashes, _hashes([key])[0]), len(self) - 1)])
        return row if self.keys[row].as_py() == key else self._shared.get(key, -1)
