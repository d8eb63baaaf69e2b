"""Whether sound can be streamed."""

from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="needs the extra app")

from musicgen_lite.app import live


@pytest.mark.parametrize(
    ("there", "possible"), [((), False), (("ffmpeg",), False), (("ffprobe",), False), (("ffmpeg", "ffprobe"), True)]
)
def test_sound_is_streamed_where_both_programs_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], possible: bool
) -> None:
    for name in there:
        (tmp_path / name).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert live.possible() is possible
