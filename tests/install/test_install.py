"""When `make env` installs what: the lock and the project, the project alone, or everything anew."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent.parent


def load(tree: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, list[str]]:
    """requirements/install.py for another tree, and the list of what it does there instead of installing."""
    spec = importlib.util.spec_from_file_location("install", ROOT / "requirements" / "install.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    done: list[str] = []
    python = tree / ".venv" / "bin" / "python"
    places = {"HERE": tree / "requirements", "TREE": tree, "VENV": tree / ".venv", "PYTHON": python}
    for name, place in {**places, "RECORD": tree / ".venv" / "installed.txt"}.items():
        monkeypatch.setattr(module, name, place)

    def install_lock() -> None:
        done.append("lock")
        python.parent.mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(module, "install_lock", install_lock)
    monkeypatch.setattr(module, "install_project", lambda: done.append("project"))
    return module, done


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "requirements").mkdir(parents=True)
    (folder / "requirements" / "lock.txt").write_text("one")
    (folder / "pyproject.toml").write_text("one")
    return folder


def test_each_change_installs_what_it_touches(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, done = load(tree, monkeypatch)
    for change, expected in (
        (None, ["lock", "project"]),
        (None, []),
        (tree / "pyproject.toml", ["project"]),
        (tree / "requirements" / "lock.txt", ["lock", "project"]),
        (None, []),
    ):
        if change:
            change.write_text("two")
        module.main()
        assert done == expected
        done.clear()


def test_a_moved_tree_gets_a_new_environment_and_keeps_the_old_one_where_that_fails(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(tree, monkeypatch)[0].main()
    (tree / ".venv" / "old").touch()
    moved = tree.rename(tree.parent / "moved")
    module, done = load(moved, monkeypatch)
    with monkeypatch.context() as broken:
        broken.setattr(module, "install_project", lambda: module.fail("no network"))
        with pytest.raises(SystemExit, match="no network"):
            module.main()
    assert (moved / ".venv" / "old").exists()
    done.clear()
    module.main()
    assert done == ["lock", "project"]
    assert not (moved / ".venv" / "old").exists()
    assert [place.name for place in moved.glob(".venv*")] == [".venv"]
    module.main()
    assert done == ["lock", "project"]


def test_what_was_killed_half_way_starts_again(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, done = load(tree, monkeypatch)
    module.main()
    (tree / "requirements" / "lock.txt").write_text("two")
    with monkeypatch.context() as broken:
        broken.setattr(module, "install_project", lambda: module.fail("killed"))
        with pytest.raises(SystemExit):
            module.main()
    (tree / "requirements" / "lock.txt").write_text("one")
    done.clear()
    module.main()
    assert done == ["lock", "project"]
