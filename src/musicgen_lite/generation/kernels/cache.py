"""Where compiled kernels are kept: by the content of their sources, whatever folder they lie in.

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
    """A folder for each content of a package, whose modules inline each other, in NUMBA_CACHE_DIR or in the user's cache folder."""

    packages: ClassVar[set[Path]] = set()

    def __init__(self, py_func: Any, py_file: str) -> None:
        super().__init__(py_func, py_file)
        sources = sorted(Path(py_file).parent.glob("*.py"))
        self._digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
        folder = getattr(config, "CACHE_DIR", "") or os.path.dirname(self._cache_path)
        self._cache_path = os.path.join(folder, f"{SHARED}_{self._digest[:16]}")

    def get_source_stamp(self) -> str:
        return self._digest

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> Any:
        return super().from_function(py_func, py_file) if Path(py_file).parent in cls.packages else None


def share_by_content(package: Path) -> None:
    """Let the kernels that are defined in a package's folder find what was compiled from an equal one."""
    _ByContent.packages.add(package)
    if _ByContent not in caching.CacheImpl._locator_classes:
        caching.CacheImpl._locator_classes.insert(0, _ByContent)
