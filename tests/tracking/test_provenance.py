"""Where a result comes from is told by git and by what DVC recorded."""

import subprocess
from pathlib import Path

import pytest

from musicgen_lite.tracking import provenance


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def test_what_dvc_writes_leaves_a_tree_clean_and_code_makes_it_dirty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in ("no repository", "no commit"):
        tags = provenance.tags("train")
        assert provenance.commit() is None
        assert tags["train.commit"] == tags["train.dirty"] == "none"
        git(tmp_path, "init", "-q")
    for path in ("dvc.lock", "params.yaml", "metrics/nll.json", "stages/train.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("old")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "-q", "-m", "state")
    for path in ("dvc.lock", "params.yaml", "metrics/nll.json", "data/.gitignore"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("new")
    assert provenance.tags("train")["train.dirty"] == "false"
    (tmp_path / "stages/train.py").write_text("new")
    (tmp_path / "stages/odd name.py").write_text("new")
    assert sorted(provenance.dirty_files()) == ["stages/odd name.py", "stages/train.py"]
    tags = provenance.tags("train")
    assert tags["train.dirty"] == "true"
    assert len(tags["train.commit"]) == 40


def test_digests_are_those_of_dvc_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert provenance.digests() == {}
    (tmp_path / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  train:\n    cmd: x\n    outs:\n    - {path: data/model, md5: ab.dir}\n"
        "    - {path: m.csv, md5: cd}\n  track:\n    cmd: y\n"
    )
    assert provenance.digests() == {"dvc.train": "data/model:ab.dir m.csv:cd"}
