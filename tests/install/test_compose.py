"""The compose file: what it starts is what docs/cluster.md connects to, for this machine alone, with no password in it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
PAGE = (ROOT / "docs/cluster.md").read_text()


def test_the_page_names_what_is_started() -> None:
    database, store = SERVICES["postgres"]["environment"], SERVICES["s3"]["environment"]
    assert f"postgresql://{database['POSTGRES_USER']}@127.0.0.1/{database['POSTGRES_DB']}" in PAGE
    assert "AWS_ENDPOINT_URL=http://127.0.0.1:9000" in PAGE
    for secret in (database["POSTGRES_PASSWORD"], store["MINIO_ROOT_USER"], store["MINIO_ROOT_PASSWORD"]):
        name = re.fullmatch(r"\$\{([A-Z_]+):\?.+\}", secret)  # asked for, and never empty
        assert name
        assert f"{name[1]}=" in PAGE


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_listens_on_this_machine_alone_in_one_version_and_keeps_its_data(name: str) -> None:
    service = SERVICES[name]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert re.fullmatch(r"[\w/]+:[\w.:-]*\d[\w.:-]*", service["image"])
    assert [volume.partition(":")[0] for volume in service["volumes"]] == [name]


def test_the_file_of_passwords_stays_out_of_git_and_of_the_image() -> None:
    assert "/.env" in (ROOT / ".gitignore").read_text().splitlines()
    assert ".env" in (ROOT / ".dockerignore").read_text().splitlines()
