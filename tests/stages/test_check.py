"""The stage check notes a change in what lies outside of the repository, and only for the stages that read it."""

import os
import shutil
from pathlib import Path

import pytest

from musicgen_lite.errors import UserError
from musicgen_lite.params import Params
from musicgen_lite.pretrained import shipped
from stages import check
from stages.runtime import EXTERNAL, resolve_model_path
from tests.support.musiccaps_tables import row, write_table
from tests.support.stage_params import parameters


def noted(params: Params) -> dict[str, str]:
    """What check writes, by the file's name."""
    check.main(params)
    return {file.stem: file.read_text() for file in EXTERNAL.iterdir()}


def named(codec: str = "embedded", clap: str = "embedded", judge: str = "") -> Params:
    """Parameters that name these models."""
    params = parameters()
    own = (
        params.codec.model_copy(update={"name": codec}),
        params.score.model_copy(update={"clap": clap, "judge": judge}),
    )
    return params.model_copy(update={"codec": own[0], "score": own[1]})


def test_a_changed_table_is_a_changed_source(place: Path) -> None:
    table = place / "table.csv"
    found = set()
    for caption in ("one", "two"):
        write_table(table, [row("v", caption=caption)])
        found.add(noted(parameters(source="musiccaps", musiccaps__csv=str(table)))["source"])
    assert len(found) == 2


def test_a_changed_file_of_a_model_is_seen_by_those_that_read_it(place: Path) -> None:
    own = place / "repository" / "own-codec"
    shutil.copytree(shipped.path("codec"), own)
    before = noted(named("own-codec"))
    assert noted(named("own-codec")) == before
    file = own / "model.safetensors"
    file.write_bytes(file.read_bytes()[::-1])  # as long as before
    os.utime(file, ns=(1, 1))
    after = noted(named("own-codec"))
    assert {name for name in after if after[name] != before[name]} == {"codec"}
    assert noted(named("own-codec", judge="own-codec"))["clap"] != after["clap"]


def test_neither_a_shipped_model_nor_one_of_the_hub_has_a_state_of_its_own(place: Path) -> None:
    (place / "repository" / "embedded").mkdir(parents=True)  # a folder that happens to be called so
    shipped, of_the_hub = noted(named()), noted(named(codec="facebook/encodec_32khz"))
    assert shipped["codec"].split() == ["{}"]
    assert of_the_hub["codec"].split() == ["{", '"codec":', '""', "}"]
    assert resolve_model_path("embedded") == "embedded"


def test_a_relative_path_of_a_model_starts_at_the_repository(place: Path) -> None:
    (place / "repository" / "models" / "own").mkdir(parents=True)
    assert resolve_model_path("models/own") == str(place / "repository" / "models" / "own")
    assert resolve_model_path("models/other") == "models/other"  # perhaps one of the hub


def with_texts(place: Path, captions: list[str], prompts: list[str]) -> Params:
    """Parameters of a folder whose table holds these captions, and with these fixed prompts."""
    music = place / "music"
    music.mkdir(exist_ok=True)
    lines = "".join(f"{number}.wav,{caption}\n" for number, caption in enumerate(captions))
    (music / "metadata.csv").write_text("file_name,caption\n" + lines, encoding="utf-8")
    params = parameters(source="folder", folder__path=str(music))
    return params.model_copy(update={"sample": params.sample.model_copy(update={"fixed_prompts": tuple(prompts)})})


def test_captions_and_prompts_that_the_encoder_cannot_read_are_counted(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check.main(with_texts(place, ["A calm piano.", "Fast drums."], ["Loud."]))
    assert capsys.readouterr().out == ""
    check.main(with_texts(place, ["A calm piano.", "音楽 の 曲", "A na\u00efve tune.", ""], ["Loud.", "موسيقى"]))
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("captions: 2 of 3 hold characters that the text encoder does not know ('ï' 'の'")
    assert first.endswith("; 1 of them mostly unreadable")
    assert second.startswith("sample.fixed_prompts: 1 of 2 hold characters")


@pytest.mark.parametrize(
    ("captions", "prompts", "what"),
    [(["音楽 の 曲", "موسيقى هادئة"], ["Loud."], "captions"), (["Loud."], ["音楽 の 曲"], "sample.fixed_prompts")],
)
def test_texts_of_which_the_encoder_can_read_none_are_refused(
    place: Path, captions: list[str], prompts: list[str], what: str
) -> None:
    with pytest.raises(UserError, match=f"{what}: the text encoder can read none of {len(captions)}"):
        check.main(with_texts(place, captions, prompts))
    assert not EXTERNAL.exists()
