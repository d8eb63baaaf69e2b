"""Each outside source through the real dvc.yaml, as a tiny twin: from what lies on the disk to tokens."""

from pathlib import Path

import pytest

from musicgen_lite.io.arrays import ArrayStore
from musicgen_lite.io.clips import ClipStore
from tests.support import jamendo_tables
from tests.support.project import Project, create

pytestmark = [pytest.mark.pipeline, pytest.mark.long, pytest.mark.timeout(1800)]
TO_TOKENS = ("dvc", "repro", "tokenize")


def tokenized(project: Project) -> list[str]:
    """Clips of the project that have tokens, all of them."""
    clips = ClipStore(project.folder / "data/clips").index["id"].tolist()
    assert set(ArrayStore(project.folder / "data/tokens/target").keys) == set(clips)
    return clips


def test_jamendo_becomes_tokens_and_given_captions_make_its_clips_stale(tmp_path: Path) -> None:
    project = create(tmp_path / "project")
    jamendo_tables.whole(tmp_path, "_instrumental.mp3")
    project.set(
        data__source="jamendo", data__rate=8000, data__jamendo__tables=str(tmp_path / "tables"),
        data__jamendo__audio=str(tmp_path / "audio"), data__jamendo__suffix="_instrumental.mp3",
    )  # fmt: skip
    assert project.stages_of(*TO_TOKENS) == ["check", "download", "tokenize"]
    assert len(tokenized(project)) == 24
    (tmp_path / "captions.json").write_text('{"1": "A given text."}')
    project.set(data__jamendo__captions=str(tmp_path / "captions.json"))
    assert project.stages_of("dvc", "repro", "download") == ["check", "download"]
    assert "A given text." in ClipStore(project.folder / "data/clips").index["caption"].tolist()
