"""Which tree's code runs: the environment's command is of this repository, stages of a copy of it run the copy."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PLACE = "import musicgen_lite; print(musicgen_lite.__file__)"


def imported(folder: Path, before: str = "") -> Path:
    """The file of the package that a process in `folder` imports, after the imports `before`."""
    done = subprocess.run(
        [sys.executable, "-c", before + PLACE], cwd=folder, capture_output=True, text=True, check=True
    )
    return Path(done.stdout.strip())


def test_anywhere_this_tree_is_imported_and_installed_as_a_path(tmp_path: Path) -> None:
    assert imported(tmp_path) == ROOT / "src/musicgen_lite/__init__.py"
    packages = Path(sysconfig.get_path("purelib"))
    # A finder on sys.meta_path, which setuptools writes for other layouts, might be asked before the path of a copy.
    assert not list(packages.glob("__editable__*musicgen*finder*"))
    assert [file.read_text().strip() for file in packages.glob("__editable__*musicgen*.pth")] == [str(ROOT / "src")]


def test_stages_of_a_copy_run_the_copy(tmp_path: Path) -> None:
    """As queued experiments do, in .dvc/tmp/exps, with the interpreter that has this tree installed."""
    for folder in ("src", "stages"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("weights", "*.egg-info"))
    assert imported(tmp_path, "import stages; ") == tmp_path / "src/musicgen_lite/__init__.py"
    with (tmp_path / "src/musicgen_lite/errors.py").open("a") as file:
        file.write('\nprint("the copy")\n')
    done = subprocess.run(
        [sys.executable, "-m", "stages.check"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "the copy" in done.stdout
