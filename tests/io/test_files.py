"""Files are whole or absent."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from musicgen_lite.errors import UserError
from musicgen_lite.io import files


def test_failure_leaves_the_old_file_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"x": 1})
    with pytest.raises(RuntimeError), files.atomic_path(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert files.read_json(path) == {"x": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_directory_replaces_the_old_one_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for name in ("first", "second"):
        with files.atomic_dir(target) as part:
            (part / name).touch()
            assert not (target / name).exists()
    assert os.listdir(target) == ["second"]


def write_and_die(path: Path, kind: str) -> None:
    """Leave what a process leaves that is killed while it writes."""
    script = f"""
import os, sys
from musicgen_lite.io import files
with files.{kind}(sys.argv[1]) as part:
    part.exists() or part.touch()
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 9


@pytest.mark.parametrize("kind", ["atomic_dir", "atomic_path"])
def test_leftovers_of_a_killed_writer_are_swept(tmp_path: Path, kind: str) -> None:
    write_and_die(tmp_path / "out", kind)
    assert len(os.listdir(tmp_path)) == 2  # what it wrote, and the lock that it held
    with files.atomic_dir(tmp_path / "out") as fresh:
        (fresh / "whole").touch()
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("directory", [False, True])
def test_what_a_living_writer_writes_stays(tmp_path: Path, directory: bool) -> None:
    """Two that write the same path: the later to finish has it, and neither loses what it wrote."""
    atomic = files.atomic_dir if directory else files.atomic_path
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
    with pytest.raises(UserError, match=expected) as error, files.atomic_path(path):
        raise OSError(code, os.strerror(code))
    assert str(path) in str(error.value)
    assert not path.exists()


def test_a_folder_is_never_replaced_by_a_file_nor_a_file_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "keep.json").mkdir()
    (tmp_path / "keep.json" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"keep\.json: there is a folder of this name"):
        files.write_json(tmp_path / "keep.json", {})
    with pytest.raises(UserError, match="file: there is a file of this name"), files.atomic_dir(tmp_path / "file"):
        pass
    assert (tmp_path / "keep.json" / "notes.txt").read_text() == (tmp_path / "file").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["file", "keep.json"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc, which takes no file from anybody")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("write", [files.atomic_dir, files.atomic_path])
@pytest.mark.parametrize("folder", ["/proc", "/proc/new", "/sys"])
def test_a_place_where_nothing_can_be_made_is_named_at_once(folder: str, write: Callable[[str], Any]) -> None:
    with (
        pytest.raises(UserError, match=f"^{folder}/out: (nothing can be written|no permission to write) here"),
        write(f"{folder}/out"),
    ):
        pass


def test_a_place_is_asked_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "song.wav").write_text("mine")
    (tmp_path / "link.wav").symlink_to("song.wav")
    long = tmp_path / ("x" * 300 + ".wav")
    for path, expected in (
        (tmp_path / "folder.wav", "folder of this name"), (tmp_path / "song.wav" / "a.wav", "not the name of a file"),
        (long, "not the name of a file"), (tmp_path / "link.wav", "an input as well"), ("/proc/no/x.wav", "nothing can be"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=expected) as error:
            files.check_place(path, None, tmp_path / "song.wav", tmp_path / "gone.wav")
        assert str(path) in str(error.value)
    for path in (tmp_path / "new" / "folders" / "a.wav", tmp_path / "song.wav", tmp_path / ("é" * 125 + ".wav")):
        files.check_place(path)
    assert sorted(os.listdir(tmp_path)) == ["folder.wav", "link.wav", "song.wav"]
    assert (tmp_path / "song.wav").read_text() == "mine"


@pytest.mark.parametrize("name", ["x" * 254, "é" * 125 + ".txt", "[a]*?.txt", "-dash %41 🎵.txt"])
def test_any_name_that_the_system_allows_is_written(tmp_path: Path, name: str) -> None:
    write_and_die(tmp_path / name, "atomic_path")
    files.write_text(tmp_path / name, "whole")
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
    explained = files.explain(error.value, "data/model")
    assert isinstance(explained, UserError)
    assert str(explained).startswith("data/model: the disk is full")
    safetensors = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert "the disk is full" in str(files.explain(safetensors))
    other = ValueError("something else")
    assert files.explain(other) is other


def test_nan_is_refused_in_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not (tmp_path / "a.json").exists()
