"""The fixed prompts of the stage sample: those that the text encoder cannot read are said, or refused."""

from pathlib import Path

import numpy as np
import pytest

from musicgen_lite import text
from musicgen_lite.errors import UserError
from musicgen_lite.io.arrays import ArrayWriter
from musicgen_lite.io.clips import Clip, ClipWriter
from musicgen_lite.params import Params
from musicgen_lite.samples.systems import embeddings
from stages import sample
from stages.runtime import TEXT
from tests.support.stage_params import parameters


@pytest.fixture(autouse=True)
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the stage reads: four test clips, their texts and their prompts."""
    monkeypatch.chdir(tmp_path)
    Path("data/clips").mkdir(parents=True)
    clips = ClipWriter("data/clips")
    writers = {
        "data/text": ArrayWriter("data/text", "float16"),
        "data/tokens/prompt": ArrayWriter("data/tokens/prompt", "uint16"),
    }
    for key in "abcd":
        clips.add(Clip(key, key, "test", "A beat.", (), np.zeros(160, np.float32), 16000))
        for writer in writers.values():
            writer.add(key, np.ones((3, 4)))
    clips.close()
    for writer in writers.values():
        writer.close({})


def prompted(*prompts: str) -> Params:
    params = parameters()
    return params.model_copy(update={"sample": params.sample.model_copy(update={"fixed_prompts": prompts})})


def test_fixed_prompts_that_cannot_be_read_are_said_and_refused_where_all_are_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    encoder = text.load("embedded")
    params = prompted("A calm piano.", "音楽 の 曲")
    found = list(sample.prompts(params))
    assert [item.kind for item in found] == ["text", "text", "fixed", "fixed"]
    assert [len(one) for one in embeddings(params, encoder, found[:2], TEXT)] == [3, 3]
    assert capsys.readouterr().out == ""
    embeddings(params, encoder, found[2:], TEXT)
    assert "sample.fixed_prompts: 1 of 2 hold characters that the text encoder does not know" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"sample\.fixed_prompts: the text encoder can read none of 1"):
        embeddings(prompted("音楽 の 曲"), encoder, list(sample.prompts(prompted("音楽 の 曲")))[2:], TEXT)
