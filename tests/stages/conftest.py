"""Fixtures of the stages' tests."""

from pathlib import Path

import pytest

from tests.support.project import ROOT, TREE


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A queued experiment's copy of the tree: it works there, and the repository is elsewhere."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in TREE:
        (copy / name).symlink_to(ROOT / name)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "repository"))
    return tmp_path
