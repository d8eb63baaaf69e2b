"""Where compiled kernels are kept: by the content of their sources, whatever folder they lie in.

Numba keys its cache by the path of the source, so that each copy of the tree in which DVC runs an experiment, each clone and
each moved repository would compile the kernels again.
"""

import hashlib
import os
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

from numba.core import caching, config

SHARED = "musicgen_lite"  # begins the folders' names
DIGEST = 32  # bytes


class _ByContent(caching.UserWideCacheLocator):
    """A folder for each content of a package, whose modules inline each other, in NUMBA_CACHE_DIR or in the user's cache folder."""

    def __init__(self, py_func: Any, py_file: str) -> None:
        super().__init__(py_func, py_file)
        sources = sorted(Path(py_file).parent.glob("*.py"))
        self._digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
        folder = getattr(config, "CACHE_DIR", "") or os.path.dirname(self._cache_path)
        self._cache_path = os.path.join(folder, f"{SHARED}_{self._digest[:16]}")

    def get_source_stamp(self) -> str:
        return self._digest


class _Places(caching.CompileResultCacheImpl):
    _locator_classes = [_ByContent, *caching.CacheImpl._locator_classes]  # noqa: RUF012 -- as numba declares it


class _Checked(caching.IndexDataCacheFile):
    """Files of machine code, each behind its digest: what is damaged must not run."""

    def _save_data(self, name: str, data: Any) -> None:
        dumped = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(hashlib.sha256(dumped).digest() + dumped)

    def _load_data(self, name: str) -> Any:
        stored = Path(self._data_path(name)).read_bytes()
        if hashlib.sha256(stored[DIGEST:]).digest() != stored[:DIGEST]:
            raise ValueError(f"{name} is damaged")
        caching._cache_log("[cache] data loaded from %r", self._data_path(name))
        return pickle.loads(stored[DIGEST:])


class KernelCache(caching.FunctionCache):
    """A kernel's files. Damaged ones count as none, and are written again; where nothing can be written, nothing is kept.

    RuntimeError where no folder is writable at the start.
    """

    _impl_class = _Places

    def __init__(self, py_func: Any) -> None:
        super().__init__(py_func)
        locator = self._impl.locator
        self._cache_file = _Checked(self._cache_path, self._impl.filename_base, locator.get_source_stamp())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # reading a damaged pickle may raise anything
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):
            super().save_overload(sig, data)
