"""Files are whole or absent; arrays come back as they went in."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from musicgen_lite.errors import UserError
from musicgen_lite.io import store


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


def write_and_die(path: Path, kind: str) -> None:
    """Leave what a process leaves that is killed while it writes."""
    script = f"""
import os, sys
from musicgen_lite.io import store
with store.{kind}(sys.argv[1]) as part:
    part.exists() or part.touch()
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 9


@pytest.mark.parametrize("kind", ["atomic_dir", "atomic_path"])
def test_leftovers_of_a_killed_writer_are_swept(tmp_path: Path, kind: str) -> None:
    write_and_die(tmp_path / "out", kind)
    assert len(os.listdir(tmp_path)) == 2  # what it wrote, and the lock that it held
    with store.atomic_dir(tmp_path / "out") as fresh:
        (fresh / "whole").touch()
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("directory", [False, True])
def test_what_a_living_writer_writes_stays(tmp_path: Path, directory: bool) -> None:
    """Two that write the same path: the later to finish has it, and neither loses what it wrote."""
    atomic = store.atomic_dir if directory else store.atomic_path
    with atomic(tmp_path / "out") as first:
        file = first / "file" if directory else first
        file.write_text("first")
        with atomic(tmp_path / "out") as second:
            (second / "file" if directory else second).write_text("second")
        assert file.read_text() == "first"
    assert (tmp_path / "out/file" if directory else tmp_path / "out").read_text() == "first"
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


def test_a_folder_is_never_replaced_by_a_file_nor_a_file_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "keep.json").mkdir()
    (tmp_path / "keep.json" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"keep\.json: there is a folder of this name"):
        store.write_json(tmp_path / "keep.json", {})
    with pytest.raises(UserError, match="file: there is a file of this name"), store.atomic_dir(tmp_path / "file"):
        pass
    assert (tmp_path / "keep.json" / "notes.txt").read_text() == (tmp_path / "file").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["file", "keep.json"]


def test_a_place_is_asked_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "song.wav").write_text("mine")
    (tmp_path / "link.wav").symlink_to("song.wav")
    long = tmp_path / ("x" * 300 + ".wav")
    for path, expected in (
        (tmp_path / "folder.wav", "folder of this name"), (tmp_path / "song.wav" / "a.wav", "not the name of a file"),
        (long, "not the name of a file"), (tmp_path / "link.wav", "read as well"), ("/proc/no/x.wav", "nothing can be"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=expected) as error:
            store.check_place(path, None, tmp_path / "song.wav", tmp_path / "gone.wav")
        assert str(path) in str(error.value)
    for path in (tmp_path / "new" / "folders" / "a.wav", tmp_path / "song.wav", tmp_path / ("é" * 125 + ".wav")):
        store.check_place(path)
    assert sorted(os.listdir(tmp_path)) == ["folder.wav", "link.wav", "song.wav"]
    assert (tmp_path / "song.wav").read_text() == "mine"


@pytest.mark.parametrize("name", ["x" * 254, "é" * 125 + ".txt", "[a]*?.txt", "-dash %41 🎵.txt"])
def test_any_name_that_the_system_allows_is_written(tmp_path: Path, name: str) -> None:
    write_and_die(tmp_path / name, "atomic_path")
    store.write_text(tmp_path / name, "whole")
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "whole"


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


@pytest.mark.parametrize(("limits", "shards"), [((1, 10**6), 20), ((7, 10**6), 3), ((256, 1), 20), ((256, 10**6), 1)])
def test_arrays_come_back_from_any_number_of_shards(tmp_path: Path, limits: tuple[int, int], shards: int) -> None:
    rng = np.random.default_rng(0)
    arrays = {f"clip-{n}": rng.integers(0, 2048, (rng.integers(1, 9), 4)).astype(np.uint16) for n in range(20)}
    writer = store.ArrayWriter(tmp_path, np.uint16, *limits)
    for number, (key, array) in enumerate(arrays.items()):
        writer.add(key, array, split="train" if number % 2 else "test")
    writer.close({"codec": "abc"})
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        ["index.parquet", "meta.json", *(f"shard-{number:05d}.npy" for number in range(shards))]
    )
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
    with pytest.raises(ValueError, match="duplicate key: a"):
        writer.add("a", np.zeros((2, 3)))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("stopped_after", [0, 3, 4, 11, 19])
def test_a_stopped_writer_goes_on_behind_its_last_whole_shard(tmp_path: Path, stopped_after: int) -> None:
    arrays = {f"clip-{n}": np.full((n % 3 + 1, 4), n) for n in range(20)}

    def add(folder: Path, count: int = 20) -> store.ArrayWriter:
        writer = store.ArrayWriter(folder, np.uint16, arrays_per_shard=4)
        for key in [key for key in arrays if key not in writer][:count]:
            writer.add(key, arrays[key], split="train")
        return writer

    add(tmp_path / "whole").close({"codec": "abc"})
    stopped = tmp_path / "stopped"
    add(stopped, stopped_after)
    # A shard without its rows is half written; so is what an atomic writer left beside.
    for name in ("shard-{:05d}.npy", ".shard-{:05d}.npy.0a1b2c3d.part.npy"):
        (stopped / name.format(stopped_after // 4)).write_bytes(b"half")
    again = store.ArrayWriter(stopped, np.uint16, arrays_per_shard=4)
    assert [key for key in arrays if key in again] == list(arrays)[: stopped_after // 4 * 4]
    add(stopped).close({"codec": "abc"})
    assert bytes_of(stopped) == bytes_of(tmp_path / "whole")


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
