"""Two small models, which the page offers."""

from pathlib import Path

import pytest

from musicgen_lite.app.models import Shelf
from musicgen_lite.app.studio import Studio
from tests.test_generator import save


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("offered")
    return {kind: str(save(folder / f"{kind}.safetensors", kind)) for kind in "ab"}


@pytest.fixture(scope="session")
def studio(models: dict[str, str]) -> Studio:
    return Studio(Shelf(list(models.values()), Path("/nowhere")), threads=1)
