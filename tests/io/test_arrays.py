"""Arrays come back from their shards as they went in."""

from pathlib import Path

import numpy as np
import pytest

from musicgen_lite.errors import UserError
from musicgen_lite.io.arrays import ArrayStore, ArrayWriter


# Of the first, eight shards have one array, six have two.
@pytest.mark.parametrize(("limits", "shards"), [((1, 10**6), 14), ((7, 10**6), 3), ((256, 1), 20), ((256, 10**6), 1)])
def test_arrays_come_back_from_any_number_of_shards(tmp_path: Path, limits: tuple[int, int], shards: int) -> None:
    rng = np.random.default_rng(0)
    arrays = {f"clip-{n}": rng.integers(0, 2048, (rng.integers(1, 9), 4)).astype(np.uint16) for n in range(20)}
    writer = ArrayWriter(tmp_path, "uint16", *limits)
    for number, (key, array) in enumerate(arrays.items()):
        writer.add(key, array, split="train" if number % 2 else "test")
    writer.close({"codec": "abc"})
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        ["index.parquet", "meta.json", *(f"shard-{number:05d}.npy" for number in range(shards))]
    )
    read = ArrayStore(tmp_path)
    assert read.keys == list(arrays)
    assert read.meta["codec"] == "abc"
    assert set(read.index["split"]) == {"train", "test"}
    for key, array in arrays.items():
        np.testing.assert_array_equal(read[key], array)
    with pytest.raises(UserError, match="no entry 'other'"):
        read["other"]


def test_duplicate_keys_are_refused(tmp_path: Path) -> None:
    writer = ArrayWriter(tmp_path, "float16")
    writer.add("a", np.zeros((2, 3)))
    with pytest.raises(ValueError, match="duplicate key: a"):
        writer.add("a", np.zeros((2, 3)))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("stopped_after", [0, 3, 4, 11, 19])
def test_a_stopped_writer_goes_on_behind_its_last_whole_shard(tmp_path: Path, stopped_after: int) -> None:
    arrays = {f"clip-{n}": np.full((n % 3 + 1, 4), n) for n in range(20)}

    def add(folder: Path, count: int = 20) -> ArrayWriter:
        writer = ArrayWriter(folder, "uint16", arrays_per_shard=4)
        for key in [key for key in arrays if key not in writer][:count]:
            writer.add(key, arrays[key], split="train")
        return writer

    add(tmp_path / "whole").close({"codec": "abc"})
    stopped = tmp_path / "stopped"
    add(stopped, stopped_after)
    # A shard without its rows is half written; so is what an atomic writer left beside.
    for name in ("shard-{:05d}.npy", ".shard-{:05d}.npy.0a1b2c3d.part.npy"):
        (stopped / name.format(stopped_after // 4)).write_bytes(b"half")
    again = ArrayWriter(stopped, "uint16", arrays_per_shard=4)
    assert [key for key in arrays if key in again] == list(arrays)[: stopped_after // 4 * 4]
    add(stopped).close({"codec": "abc"})
    assert bytes_of(stopped) == bytes_of(tmp_path / "whole")
