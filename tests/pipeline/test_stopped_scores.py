"""The stages reference and score_audio, stopped while they embed: they go on, and end with the same bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from musicgen_lite import params
from musicgen_lite.params import Params
from musicgen_lite.scoring.audio.embedders import MelEmbedder
from stages import reference, score_audio
from tests.support.project import Project

Stage = Callable[[Params], None]


class Counted:
    """Calls of a function, the `stop`-th of which is interrupted."""

    def __init__(self, function: Callable[..., Any], stop: int = 0) -> None:
        self.function, self.stop, self.calls = function, stop, 0

    def __get__(self, owner: Any, kind: type) -> Callable[..., Any]:
        return lambda *arguments: self(owner, *arguments)

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        if self.calls == self.stop:
            raise KeyboardInterrupt
        return self.function(*arguments)


def contents(*folders: str) -> dict[Path, bytes]:
    return {file: file.read_bytes() for folder in folders for file in Path(folder).rglob("*") if file.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "outputs", "stop"),
    [(reference.main, ("data/reference", "data/scores/reference"), 11), (score_audio.main, ("data/scores/audio",), 3)],
    ids=["reference", "score_audio"],
)
def test_what_was_embedded_before_a_stop_is_not_embedded_again(
    project: Project, monkeypatch: pytest.MonkeyPatch, stage: Stage, outputs: tuple[str, ...], stop: int
) -> None:
    monkeypatch.chdir(project.folder)
    chosen, expected = params.load("params.yaml"), contents(*outputs)
    assert expected
    embed = MelEmbedder.embed
    whole = Counted(embed)
    monkeypatch.setattr(MelEmbedder, "embed", whole)
    stage(chosen)
    assert contents(*outputs) == expected

    stopped = Counted(embed, stop)
    monkeypatch.setattr(MelEmbedder, "embed", stopped)
    with pytest.raises(KeyboardInterrupt):
        stage(chosen)
    assert contents(*outputs) == expected
    (work,) = (path for path in Path("checkpoints").iterdir() if path.is_dir())
    assert list(work.rglob("*.npz"))

    rest = Counted(embed)
    monkeypatch.setattr(MelEmbedder, "embed", rest)
    stage(chosen)
    assert contents(*outputs) == expected
    # Clips are embedded four together: those of the piece that was stopped are embedded again.
    assert rest.calls == whole.calls - (stop - 1) // 4 * 4
    assert not list(Path("checkpoints").glob("*"))
