"""What holds for all tests."""

import os
import sys

import pytest

# Several test processes share the cores; on tiny tensors threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A pipeline starts a dozen processes: half of the time that their imports take would go into compiling Python again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole pipelines first: they take longest, and the other files fill up what the other processes have left."""
    items.sort(key=lambda item: ("long" not in item.keywords, "pipeline" not in item.keywords))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """A test begins with one thread of torch's, however many the one before it has set: their number changes rounding."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
