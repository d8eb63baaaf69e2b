"""Where compiled kernels are kept: by the content of their source, whatever folder it lies in.

Numba keys its cache by the path of the source, so that each copy of the tree in which DVC runs an experiment, each clone and
each moved repository would compile the kernels again, for ten seconds and more.
"""

import hashlib
import os
from pathlib import Path
from typing import Any, ClassVar

from numba.core import caching, config

SHARED = "musicgen_lite"  # begins the folders' names


class _ByContent(caching.UserWideCacheLocator):
    """A folder for each content of a source, in NUMBA_CACHE_DIR or in the user's cache folder."""

    sources: ClassVar[set[str]] = set()

    def __init__(self, py_func: Any, py_file: str) -> None:
        super().__init__(py_func, py_file)
        self._digest = hashlib.sha256(Path(py_file).read_bytes()).hexdigest()
        folder = getattr(config, "CACHE_DIR", "") or os.path.dirname(self._cache_path)
        self._cache_path = os.path.join(folder, f"{SHARED}_{self._digest[:16]}")

    def get_source_stamp(self) -> str:
        return self._digest

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> Any:
        return super().from_function(py_func, py_file) if py_file in cls.sources else None


def share_by_content(source: str) -> None:
    """Let the kernels that are defined in a source file find what was compiled from an equal one."""
    _ByContent.sources.add(source)
    if _ByContent not in caching.CacheImpl._locator_classes:
        caching.CacheImpl._locator_classes.insert(0, _ByContent)
