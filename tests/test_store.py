"""Files are whole or absent; arrays come back as they went in."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from musicgen_lite import store
from musicgen_lite.errors import UserError


def test_failure_leaves_the_old_file_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    store.write_json(path, {"x": 1})
    with pytest.raises(RuntimeError), store.atomic_path(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert store.read_json(path) == {"x": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_directory_replaces_the_old_one_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for name in ("first", "second"):
        with store.atomic_dir(target) as part:
            (part / name).touch()
            assert not (target / name).exists()
    assert os.listdir(target) == ["second"]


def test_leftovers_of_a_killed_writer_are_swept(tmp_path: Path) -> None:
    manager = store.atomic_dir(tmp_path / "out")
    part = manager.__enter__()
    (part / "half").touch()
    with store.atomic_dir(tmp_path / "out") as fresh:
        (fresh / "whole").touch()
    assert not part.exists()
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [(errno.ENOSPC, "disk is full"), (errno.EACCES, "no permission"), (errno.EROFS, "no permission")],
)
def test_write_errors_are_explained(tmp_path: Path, code: int, expected: str) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(UserError, match=expected) as error, store.atomic_path(path):
        raise OSError(code, os.strerror(code))
    assert str(path) in str(error.value)
    assert not path.exists()


def write_text(path: str) -> None:
    with open(path, "w") as file:
        file.write("x" * 100_000)


def write_checkpoint(path: str) -> None:
    with open(path, "wb") as file:
        torch.save({"weights": torch.zeros(100_000)}, file)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("write", [write_text, write_checkpoint])
def test_a_full_disk_is_known_from_whoever_meets_it(write: Callable[[str], None]) -> None:
    with pytest.raises(Exception) as error:
        write("/dev/full")
    explained = store.explain(error.value, "data/model")
    assert isinstance(explained, UserError)
    assert str(explained).startswith("data/model: the disk is full")
    safetensors = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert "the disk is full" in str(store.explain(safetensors))
    other = ValueError("something else")
    assert store.explain(other) is other


def test_nan_is_refused_in_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("rows_per_shard", [1, 7, 1000])
def test_arrays_come_back_from_any_number_of_shards(tmp_path: Path, rows_per_shard: int) -> None:
    rng = np.random.default_rng(0)
    arrays = {f"clip-{n}": rng.integers(0, 2048, (rng.integers(1, 9), 4)).astype(np.uint16) for n in range(20)}
    writer = store.ArrayWriter(tmp_path, np.uint16, rows_per_shard)
    for number, (key, array) in enumerate(arrays.items()):
        writer.add(key, array, split="train" if number % 2 else "test")
    writer.close({"codec": "abc"})
    read = store.ArrayStore(tmp_path)
    assert read.keys == list(arrays)
    assert read.meta["codec"] == "abc"
    assert set(read.index["split"]) == {"train", "test"}
    for key, array in arrays.items():
        np.testing.assert_array_equal(read[key], array)
    with pytest.raises(UserError, match="no entry 'other'"):
        read["other"]


def test_duplicate_keys_are_refused(tmp_path: Path) -> None:
    writer = store.ArrayWriter(tmp_path, np.float16)
    writer.add("a", np.zeros((2, 3)))
    writer.add("a", np.zeros((2, 3)))
    with pytest.raises(ValueError, match="duplicate"):
        writer.close({})


def test_fingerprint_sees_values_shapes_types_and_config() -> None:
    tensors = {"w": torch.arange(6.0), "b": torch.zeros(2)}
    base = store.fingerprint(tensors, {"hop": 320})
    assert base == store.fingerprint(dict(reversed(tensors.items())), {"hop": 320})
    assert base == store.fingerprint({name: value.numpy() for name, value in tensors.items()}, {"hop": 320})
    changes = [
        ({**tensors, "w": torch.arange(6.0).add(1e-3)}, {"hop": 320}),
        ({**tensors, "w": torch.arange(6.0).view(2, 3)}, {"hop": 320}),
        ({**tensors, "w": torch.arange(6.0).double()}, {"hop": 320}),
        (tensors, {"hop": 321}),
    ]
    assert len({base, *(store.fingerprint(*change) for change in changes)}) == 5
