"""Equal contents have equal digests, and any change gives another."""

import hashlib
import os
from pathlib import Path

import torch

from musicgen_lite.io import hashing


def test_fingerprint_sees_values_shapes_types_and_config() -> None:
    tensors = {"w": torch.arange(6.0), "b": torch.zeros(2)}
    base = hashing.fingerprint(tensors, {"hop": 320})
    assert base == hashing.fingerprint(dict(reversed(tensors.items())), {"hop": 320})
    assert base == hashing.fingerprint({name: value.numpy() for name, value in tensors.items()}, {"hop": 320})
    changes = [
        ({**tensors, "w": torch.arange(6.0).add(1e-3)}, {"hop": 320}),
        ({**tensors, "w": torch.arange(6.0).view(2, 3)}, {"hop": 320}),
        ({**tensors, "w": torch.arange(6.0).double()}, {"hop": 320}),
        (tensors, {"hop": 321}),
    ]
    assert len({base, *(hashing.fingerprint(*change) for change in changes)}) == 5


def test_a_file_and_a_folder_by_their_contents(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("c.txt", "b/a.txt", "b/a.pyc"):
        (tmp_path / name).write_bytes(name.encode())
    assert hashing.file_sha256(tmp_path / "c.txt") == hashlib.sha256(b"c.txt").hexdigest()
    assert hashing.files_in([tmp_path]) == [tmp_path / "b/a.txt", tmp_path / "c.txt"]
    assert hashing.files_in([tmp_path / "c.txt", tmp_path / "gone"]) == [tmp_path / "c.txt"]
    before = hashing.file_stat(tmp_path / "c.txt")
    os.utime(tmp_path / "c.txt", ns=(0, 0))
    assert hashing.file_stat(tmp_path / "c.txt") == (before[0], 0) != before


def test_a_short_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert hashing.short_digest({"a": 1, "b": [2]}) == hashing.short_digest({"b": [2], "a": 1})
    assert len({hashing.short_digest(value) for value in ([1, 2], [2, 1], [12], "12")}) == 4
