"""Two small models, and the page that offers them: a real process for all tests of a session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from musicgen_lite.app.models import Shelf
from musicgen_lite.app.studio import Studio
from tests.support.web_page import Served, served
from tests.test_generator import save


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("offered")
    return {kind: str(save(folder / f"{kind}.safetensors", kind)) for kind in "ab"}


@pytest.fixture(scope="session")
def studio(models: dict[str, str]) -> Studio:
    return Studio(Shelf({path: path for path in models.values()}, Path("/nowhere")), threads=1)


@pytest.fixture(scope="session")
def page(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "removed.safetensors").write_bytes(Path(models["a"]).read_bytes())  # by a test
    offered = [*models.values(), "removed.safetensors"]
    with served(folder, "--threads", "1", *(f"--model={path}" for path in offered)) as found:
        yield found


@pytest.fixture
def address(page: Served) -> str:
    return page.address
