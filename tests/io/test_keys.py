"""Keys are found by their hashes, and two keys of one hash are told apart."""

import numpy as np
import pyarrow as pa
import pytest

from musicgen_lite.io import keys
from musicgen_lite.io.keys import Keys


def column(names: list[str]) -> pa.ChunkedArray:
    half = len(names) // 2
    return pa.chunked_array([names[:half], names[half:]], pa.string())


@pytest.mark.parametrize("hashes", [None, 1, 3])
def test_every_key_has_its_row(monkeypatch: pytest.MonkeyPatch, hashes: int | None) -> None:
    """`hashes`: how many different ones there are, None for 2 ** 64."""
    real = keys._hashes
    if hashes:
        monkeypatch.setattr(keys, "_hashes", lambda some: real(some) % np.uint64(hashes))
    monkeypatch.setattr(keys, "CHUNK", 7)
    names = [f"clip {number} – {chr(0x3B1 + number)}" for number in range(23)]
    index = Keys(column(names))
    assert index.list() == names
    assert (len(index), index.duplicates) == (23, 0)
    asked = ["nothing", *names[::-1], ""]
    assert index.rows(asked).tolist() == [-1, *range(22, -1, -1), -1]
    assert index.rows(column(asked)).tolist() == index.rows(asked).tolist()
    assert [index.row(name) for name in asked] == index.rows(asked).tolist()
    assert [index.key(row) for row in range(23)] == names


def test_keys_that_are_there_twice_are_counted() -> None:
    assert Keys(column(["a", "b", "a", "c", "a"])).duplicates == 2


def test_an_empty_table_has_no_key() -> None:
    empty = Keys(column([]))
    assert len(empty) == 0
    assert empty.row("a") == -1
    assert empty.rows(["a", "b"]).tolist() == [-1, -1]
    assert Keys(column(["a"])).rows([]).tolist() == []
