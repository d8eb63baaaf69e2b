"""sample.prompts_file: read and checked before anything runs, and generated for in place of test captions."""

import json
from pathlib import Path

import numpy as np
import pytest

from musicgen_lite import text
from musicgen_lite.errors import UserError
from musicgen_lite.io.arrays import ArrayWriter
from musicgen_lite.io.clips import Clip, ClipWriter
from musicgen_lite.params import Params
from musicgen_lite.samples.systems import embeddings
from stages import check, sample
from stages.runtime import TEXT
from tests.support.stage_params import parameters


def naming(file: str, type: str = "a") -> Params:
    params = parameters()
    return params.model_copy(
        update={
            "sample": params.sample.model_copy(update={"prompts_file": file, "fixed_prompts": ("Loud.",)}),
            "model": params.model.model_copy(update={"type": type}),
        }
    )


def write(place: Path, name: str, lines: str) -> str:
    """A file of the repository; a relative name starts there."""
    (place / "repository").mkdir(exist_ok=True)
    (place / "repository" / name).write_text(lines, encoding="utf-8")
    return name


@pytest.mark.parametrize(
    ("name", "lines", "expected"),
    [
        ("p.txt", "A calm piano.\n\nFast drums.\n", [("001", "A calm piano."), ("002", "Fast drums.")]),
        ("p.csv", "id,prompt\nb7,A calm piano.\n,Fast drums.\n", [("b7", "A calm piano."), ("002", "Fast drums.")]),
    ],
)
def test_check_notes_each_prompt_with_its_id(
    place: Path, name: str, lines: str, expected: list[tuple[str, str]]
) -> None:
    check.main(naming(write(place, name, lines)))
    noted = json.loads(Path("data/external/prompts.json").read_text())["prompts"]
    assert [(one["id"], one["prompt"]) for one in noted] == expected


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("p.csv", "id,prompt\n../up,A.\nb,B.\n", r"line 2: id '\.\./up' is to name a file"),
        ("p.csv", "id,prompt\na,A.\na,B.\n", r"line 3: id 'a' is that of line 2 as well"),
        ("p.csv", "id,prompt,seconds\na,A.,3\nb,B.,\n", r"line 2: seconds, seed and tempo are those of the parameters"),
        ("p.csv", "id,text\na,A.\n", r"no column prompt; found id, text"),
        ("p.txt", "A.\n", r"sample\.prompts_file: .*p\.txt: holds 1 prompt; scores need at least 2"),
        ("p.txt", "\n", r"p\.txt: holds no prompt"),
        ("p.json", "[]", r"p\.json: prompts are read from a \.txt"),
        ("p.txt", "音楽 の 曲\nموسيقى هادئة\n", r"sample\.prompts_file: the text encoder can read none of 2"),
    ],
)
def test_a_file_that_cannot_be_generated_for_stops_before_anything_runs(
    place: Path, name: str, lines: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check.main(naming(write(place, name, lines)))
    with pytest.raises(UserError, match=r"gone\.txt: no such file"):
        check.main(naming("gone.txt"))
    assert not Path("data/external").exists()


@pytest.fixture
def clips(place: Path) -> None:
    """Four test clips, of which two would give prompts."""
    Path("data/clips").mkdir(parents=True)
    writer, texts, prompts = (
        ClipWriter("data/clips"),
        *(ArrayWriter(name, kind) for name, kind in (("data/text", "float16"), ("data/tokens/prompt", "uint16"))),
    )
    for key in "abcd":
        writer.add(Clip(key, key, "test", "A beat.", (), np.zeros(160, np.float32), 16000))
        texts.add(key, np.ones((3, 4)))
        prompts.add(key, np.ones((3, 4)))
    writer.close()
    texts.close({})
    prompts.close({})


@pytest.mark.usefixtures("clips")
def test_its_prompts_take_the_place_of_test_captions(place: Path) -> None:
    encoder = text.load("embedded")
    for type in ("a", "b"):  # of a file there is no audio prompt
        params = naming(write(place, "p.csv", "id,prompt\nx1,A calm piano.\nx2,Fast drums.\n"), type)
        check.main(params)
        found = list(sample.prompts(params))
        assert [(one.prompt_id, one.kind, one.caption) for one in found] == [
            ("x1", "text", "A calm piano."), ("x2", "text", "Fast drums."), ("fixed-0", "fixed", "Loud."),
        ]  # fmt: skip
        (alone,) = text.encode_stored(encoder, ["Fast drums."], params.text.max_tokens)
        assert np.array_equal(embeddings(params, encoder, found[:2], TEXT)[1], alone)


@pytest.mark.usefixtures("clips")
def test_the_id_of_a_clip_is_refused(place: Path) -> None:
    params = naming(write(place, "p.csv", "id,prompt\nx1,A calm piano.\na,Fast drums.\n"))
    check.main(params)
    with pytest.raises(UserError, match=r"sample\.prompts_file: id 'a' is that of a clip; give the prompt another one"):
        list(sample.prompts(params))
