"""Files that are whole or absent, and arrays in few large memory-mapped shards.

Every output of the project goes through `atomic_path` or `atomic_dir`: it is written beside its final place and
renamed when complete, so that a killed or failing process never leaves half a file under the final name.
"""

import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from musicgen_lite.errors import UserError

if TYPE_CHECKING:  # torch takes seconds to load, and most of what writes files needs none
    import torch

INDEX = "index.parquet"
META = "meta.json"
LONG = 200  # bytes of a name; most file systems allow 255


def explain(error: Exception, path: str | Path | None = None) -> Exception:
    """Turn the write errors a user can mend into a UserError; give every other error back as it is.

    path: what was being written, by default what the error itself names.
    """
    number = getattr(error, "errno", None)
    place = path or getattr(error, "filename", None) or "writing a file"
    # safetensors gives the system's error as text, and torch's writer only that it stands elsewhere than it should.
    torn = "inline_container" in str(error) and "unexpected pos" in str(error)
    if number == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error) or torn:
        return UserError(
            f"{place}: the disk is full ({os.strerror(errno.ENOSPC)}); free some space and run the same command again"
        )
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(
            f"{place}: no permission to write here ({os.strerror(number)}); change its owner or mode, or the path"
        )
    if number in (errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG):
        return UserError(f"{place}: not the name of a file ({os.strerror(number)}); name another")
    return error


def check_place(path: str | Path, *inputs: str | Path | None) -> None:
    """Raise UserError where no file can be written at `path`: for a command to ask before the work that is to end there.

    inputs: files that are read for it, which it must not replace.
    """
    path = Path(path)
    _check_kind(path, directory=False)
    try:
        with contextlib.suppress(FileNotFoundError):
            path.stat()
            if any(given is not None and Path(given).exists() and path.samefile(given) for given in inputs):
                raise UserError(f"{path}: it is read as well, and would be replaced; name another file")
        probe = _beside(next(folder for folder in path.absolute().parents if folder.exists()) / path.name)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _unwritable(error, path) from error


def _check_kind(path: Path, directory: bool) -> None:
    """Raise UserError where a folder would replace a file, or a file a folder."""
    try:
        found = path.stat()
    except OSError:  # nothing there; or no place for anything, which writing will show
        return
    if stat.S_ISDIR(found.st_mode) != directory:
        there, wanted = ("a file", "folder") if directory else ("a folder", "file")
        raise UserError(
            f"{path}: there is {there} of this name, which is left alone; name another {wanted}, or move it"
        )


def _unwritable(error: OSError, path: Path) -> Exception:
    """Why nothing can be written at `path`."""
    explained = explain(error, path)
    if isinstance(explained, UserError):
        return explained
    return UserError(f"{path}: nothing can be written here ({os.strerror(error.errno or 0)}); name another path")


def _beside(path: Path) -> Path:
    return path.with_name(f"{_mark(path)}{uuid.uuid4().hex[:8]}.part{path.suffix}")


def _mark(path: Path) -> str:
    """How the names begin of what is written beside `path`; a name as long as names may be leaves no room for more."""
    name = path.name if len(os.fsencode(path.name)) <= LONG else hashlib.sha256(os.fsencode(path.name)).hexdigest()
    return f".{name}."


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def marked(lock: Path) -> Iterator[None]:
    """Hold a lock's file as a sign of life: the system frees it when this process ends, however it ends."""
    with FileLock(lock):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def is_held(lock: Path) -> bool:
    """Whether a living process holds a lock's file; one that nobody holds is removed."""
    try:
        with FileLock(lock, blocking=False):
            lock.unlink(missing_ok=True)
            return False
    except Timeout:
        return True


def _sign_of_life(part: Path) -> Path:
    return part.with_name(f"{part.name}.lock")


def _sweep(path: Path) -> None:
    """Remove what killed earlier writers of the same `path` left beside it, and nothing that a living one writes."""
    parts = f"{glob.escape(_mark(path))}*.part{glob.escape(path.suffix)}"
    for leftover in path.parent.glob(parts):
        if not is_held(_sign_of_life(leftover)):
            _remove(leftover)
    for sign in path.parent.glob(f"{parts}.lock"):
        is_held(sign)


def _replace(part: Path, path: Path) -> None:
    """Rename `part` to `path`. A folder cannot be replaced at once, and is long in being removed: it steps aside first."""
    old = _beside(path)
    with marked(_sign_of_life(old)):
        if path.is_dir() and part.is_dir():
            os.replace(path, old)
        try:
            os.replace(part, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
        _remove(old)


@contextlib.contextmanager
def _written_beside(path: Path, directory: bool) -> Iterator[Path]:
    with contextlib.ExitStack() as stack:
        try:
            _check_kind(path, directory)
            path.parent.mkdir(parents=True, exist_ok=True)
            _sweep(path)
            part = _beside(path)
            stack.enter_context(marked(_sign_of_life(part)))
            if directory:
                part.mkdir()
        except OSError as error:
            raise _unwritable(error, path) from error
        yield from _renamed(part, path)


def _renamed(part: Path, path: Path) -> Iterator[Path]:
    try:
        yield part
        _replace(part, path)
    except UserError:
        raise
    except Exception as error:
        explained = explain(error, path)
        if explained is error:
            raise
        raise explained from error
    finally:
        _remove(part)


def atomic_path(path: str | Path) -> contextlib.AbstractContextManager[Path]:
    """A temporary path beside `path` to write to; renamed to `path` on success, removed on failure.

    Raises UserError where `path` is a folder, or nothing can be written there.
    """
    return _written_beside(Path(path), directory=False)


def atomic_dir(path: str | Path) -> contextlib.AbstractContextManager[Path]:
    """A fresh directory beside `path` to fill; it replaces `path` on success and is removed on failure.

    Raises UserError where `path` is a file, or nothing can be written there.
    """
    return _written_beside(Path(path), directory=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically, keys sorted, so that equal values give equal bytes. NaN is refused with ValueError."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON; a file that is missing or not JSON is named."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: this file is missing; run `dvc repro`, which makes it") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); delete it and run `dvc repro`") from error


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a Parquet table atomically."""
    with atomic_path(path) as part:
        table.to_parquet(part, index=False)


def fingerprint(tensors: "Mapping[str, torch.Tensor | np.ndarray] | None", config: Mapping[str, Any]) -> str:
    """16 hex digits over the bytes, shapes and types of `tensors` (by sorted name) and over `config`.

    Two models agree only if weights and preprocessing agree; names of files or repositories never enter.
    """
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name in sorted(tensors or {}):
        value = (tensors or {})[name]
        array = np.ascontiguousarray(value if isinstance(value, np.ndarray) else value.detach().cpu().numpy())
        digest.update(f"{name}{array.shape}{array.dtype}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


class ArrayWriter:
    """Collects arrays `[T, D]` of one dtype into `.npy` shards with a Parquet index and a `meta.json`.

    A shard is written once it has `arrays_per_shard` arrays or `bytes_per_shard` bytes, so that memory does not grow with
    their number. In a directory where an earlier writer of the same arrays was stopped it goes on behind the last whole
    shard: add what is not yet `in` it, in the same order. The writer itself does not rename: give it a directory
    within one of `atomic_dir` or `resumable_dir`.
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
        self._keys: set[str] = set()
        self._shards = 0
        while (rows := self._rows_of(self._shards)).is_file():
            self._keys.update(pd.read_parquet(rows, columns=["key"])["key"])
            self._shards += 1

    def _rows_of(self, shard: int) -> Path:
        """The index of one shard, written after it: where this lies, the shard is whole."""
        return self.directory / f"rows-{shard:05d}.parquet"

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def add(self, key: str, array: np.ndarray, **columns: Any) -> None:
        """Append one array `[T, D]` under a unique `key`, ValueError for one that is there; `columns` go into the index."""
        if array.ndim != 2:
            raise ValueError(f"{key}: expected [T, D], found shape {array.shape}")
        if key in self:
            raise ValueError(f"duplicate key: {key}")
        offset = sum(map(len, self._pending))
        self._keys.add(key)
        self._rows.append({"key": key, "shard": self._shards, "offset": offset, "length": len(array), **columns})
        self._pending.append(array.astype(self.dtype, copy=False))
        held = sum(one.nbytes for one in self._pending)
        if len(self._pending) >= self.arrays_per_shard or held >= self.bytes_per_shard:
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        with atomic_path(self.directory / f"shard-{self._shards:05d}.npy") as part:
            np.save(part, np.concatenate(self._pending))
        write_table(self._rows_of(self._shards), pd.DataFrame(self._rows))
        self._shards += 1
        self._pending, self._rows = [], []

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
    """Reads what `ArrayWriter` wrote; `store[key]` is a read-only memory-mapped view `[T, D]`."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self.meta: dict[str, Any] = read_json(self.directory / META)
        self.index = pd.read_parquet(self.directory / INDEX)
        self._place = {
            row.key: (int(row.shard), int(row.offset), int(row.length)) for row in self.index.itertuples(index=False)
        }
        self._maps: dict[int, np.ndarray] = {}

    @property
    def keys(self) -> list[str]:
        return list(self._place)

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, key: object) -> bool:
        return key in self._place

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self._place:
            raise UserError(f"{self.directory}: no entry {key!r} among its {len(self)}; run `dvc repro` to rebuild it")
        shard, offset, length = self._place[key]
        if shard not in self._maps:
            self._maps[shard] = np.load(self.directory / f"shard-{shard:05d}.npy", mmap_mode="r")
        return self._maps[shard][offset : offset + length]
