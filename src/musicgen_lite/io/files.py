"""Files that are whole or absent.

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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from musicgen_lite.errors import UserError
from musicgen_lite.io.locks import is_locked, locked

MAX_NAME = 200  # bytes of a name; most file systems allow 255


def explain(error: Exception, path: str | Path | None = None) -> Exception:
    """Turn a write error that a user can fix into a UserError; give every other error back unchanged.

    path: of the file or folder that was written; by default the one that the error names.
    """
    number = getattr(error, "errno", None)
    place = path or getattr(error, "filename", None) or "writing a file"
    # safetensors has the system's error only as text, and torch's writer reports an unexpected position.
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
    """Raise UserError where no file can be written at `path`: for a command to check before its work.

    inputs: files that the command reads, which it must not replace.
    """
    path = Path(path)
    _check_kind(path, directory=False)
    try:
        with contextlib.suppress(FileNotFoundError):
            path.stat()
            if any(given is not None and Path(given).exists() and path.samefile(given) for given in inputs):
                raise UserError(f"{path}: it is an input as well, and would be replaced; name another file")
        probe = _beside(next(folder for folder in path.absolute().parents if folder.exists()) / path.name)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _unwritable(error, path) from error


def _check_kind(path: Path, directory: bool) -> None:
    """Raise UserError where a folder would replace a file, or a file a folder."""
    try:
        found = path.stat()
    except OSError:  # nothing there; or an invalid place, which writing will show
        return
    if stat.S_ISDIR(found.st_mode) != directory:
        there, wanted = ("a file", "folder") if directory else ("a folder", "file")
        raise UserError(f"{path}: there is {there} of this name, which is kept; name another {wanted}, or move it")


def _unwritable(error: OSError, path: Path) -> Exception:
    """The error for a `path` where nothing can be written."""
    explained = explain(error, path)
    if isinstance(explained, UserError):
        return explained
    return UserError(f"{path}: nothing can be written here ({os.strerror(error.errno or 0)}); name another path")


def _beside(path: Path) -> Path:
    return path.with_name(f"{_prefix(path)}{uuid.uuid4().hex[:8]}.part{path.suffix}")


def _prefix(path: Path) -> str:
    """The prefix of temporary names beside `path`; a very long name is hashed, since names are limited."""
    name = path.name if len(os.fsencode(path.name)) <= MAX_NAME else hashlib.sha256(os.fsencode(path.name)).hexdigest()
    return f".{name}."


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _lock_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.lock")


def _sweep(path: Path) -> None:
    """Remove what earlier writers of the same `path` that were killed left beside it, but nothing of living ones."""
    parts = f"{glob.escape(_prefix(path))}*.part{glob.escape(path.suffix)}"
    for leftover in path.parent.glob(parts):
        if not is_locked(_lock_of(leftover)):
            _remove(leftover)
    for lock in path.parent.glob(f"{parts}.lock"):
        is_locked(lock)  # removes it unless it is held


def _replace(part: Path, path: Path) -> None:
    """Rename `part` to `path`. A folder cannot be replaced atomically, and removing it takes long: it is renamed first."""
    old = _beside(path)
    with locked(_lock_of(old)):
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
            stack.enter_context(locked(_lock_of(part)))
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
