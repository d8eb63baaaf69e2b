"""Hashes of files, folders and models: every digest by which the project recognises them again is made here."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # torch takes seconds to load
    import torch

SHORT = 16  # hex digits of a short digest


def file_sha256(path: str | Path) -> str:
    """The sha256 of a file's contents, 64 hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_in(paths: Iterable[str | Path]) -> list[Path]:
    """The files among `paths` and in the folders among them, sorted within each; compiled Python is left out."""
    found = [file for path in map(Path, paths) for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return [file for file in found if file.is_file() and file.suffix != ".pyc"]


def file_stat(path: Path) -> tuple[int, int]:
    """Size in bytes and time of change in nanoseconds: equal ones mean equal contents, without reading gigabytes."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def short_digest(value: Any) -> str:
    """16 hex digits over a value that JSON can hold; keys of mappings are sorted."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:SHORT]


def fingerprint(tensors: "Mapping[str, torch.Tensor | np.ndarray] | None", config: Mapping[str, Any]) -> str:
    """16 hex digits over the bytes, shapes and types of `tensors` (by sorted name) and over `config`.

    Two models agree only if weights and preprocessing agree; names of files or repositories have no part in it.
    """
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name in sorted(tensors or {}):
        value = (tensors or {})[name]
        array = np.ascontiguousarray(value if isinstance(value, np.ndarray) else value.detach().cpu().numpy())
        digest.update(f"{name}{array.shape}{array.dtype}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:SHORT]
