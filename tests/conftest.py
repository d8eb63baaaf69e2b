"""What holds for all tests."""

import os
import sys
from pathlib import Path

import pytest

LONGEST = ("test_tracking_cases", "test_run_cache", "test_shared_work", "test_pipeline", "test_moved")

# Several test processes share the cores; on tiny tensors threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A pipeline starts a dozen processes: half of the time that their imports take would go into compiling Python again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: each waits for others a third of its time."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests, file by file, into the order in which processes take the files.

    One that needs the tiny pipeline comes first and computes it. Others of stages and of DVC follow, which last until it is there,
    then those that need it, the longest first, and at the end the short ones, which fill up what the processes have left.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    based = [path for path, own in files.items() if any("base" in getattr(item, "fixturenames", ()) for item in own)]
    based.sort(key=lambda path: (*LONGEST, path.stem).index(path.stem))
    apart = [
        path for path, own in files.items() if path not in based and any("pipeline" in item.keywords for item in own)
    ]
    items[:] = [item for path in dict.fromkeys([*based[:1], *apart, *based, *files]) for item in files[path]]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """A test begins with one thread, however many the one before it has set: their number changes rounding."""
    if "musicgen_lite.device" in sys.modules:
        sys.modules["musicgen_lite.device"].set_threads(1)
    elif "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
