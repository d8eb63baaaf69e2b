"""The stage check notes a change in what lies outside of the repository, and only for the stages that read it."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from musicgen_lite import codec, models, text
from musicgen_lite.errors import UserError
from musicgen_lite.io.hashing import file_sha256
from musicgen_lite.models import ModelConfig
from musicgen_lite.params import Params
from musicgen_lite.pretrained import shipped
from musicgen_lite.training.corpus import Inputs
from musicgen_lite.training.setup import model_config
from pretraining.manifest import write_manifest
from stages import check
from stages.runtime import EXTERNAL, MODEL, resolve_model_path
from tests.support import codec_tiny
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
    file.write_bytes(file.read_bytes()[:-1] + b"\0")  # as long as before, with another last weight
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


def test_vggishs_weights_are_looked_for_before_anything_runs(place: Path) -> None:
    score = parameters().score.model_copy(update={"protocols": ("ours", "audiocraft"), "vggish": "vggish.pth"})
    wanted = parameters().model_copy(update={"score": score})
    with pytest.raises(UserError, match=r"score.vggish: there is no file 'vggish.pth'"):
        check.main(wanted)
    (place / "repository").mkdir(exist_ok=True)
    (place / "repository" / "vggish.pth").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"vggish.pth: not VGGish's weights"):
        check.main(wanted)


def test_a_codec_that_cannot_serve_is_refused(place: Path) -> None:
    """Before anything runs: too few codebooks, damaged, of another kind, or not there."""
    own = codec_tiny.save_dac(place / "own", books=3)
    with pytest.raises(UserError, match=r"codec\.num_codebooks: found 4; codec '.*own' has 1 to 3"):
        check.main(named(str(own)))
    shutil.copytree(shipped.path("clap"), place / "clap")
    with pytest.raises(
        UserError, match=r"model_type in config\.json is '.*', but codec\.name needs 'encodec' or 'dac'"
    ):
        check.main(named(str(place / "clap")))
    whole = codec_tiny.save_dac(place / "whole")
    with pytest.raises(
        UserError, match=r"sample\.top_k: found 250; the codec .*whole has 16 codes a codebook, which are"
    ):
        check.main(named(str(whole)))
    (own / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"codec\.name '.*own' .*cannot be loaded"):
        check.main(named(str(own)))
    with pytest.raises(UserError, match=r"codec\.name: there is no directory .*gone"):
        check.main(named(str(place / "gone")))
    assert not EXTERNAL.exists()


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


def starting_from(name: str, type: str = "a", **train: Any) -> Params:
    """Parameters of a training that starts from a model."""
    params = parameters()
    own = {
        "model": params.model.model_copy(update={"type": type}),
        "train": params.train.model_copy(update={"init": name, **train}),
    }
    return params.model_copy(update=own)


@pytest.fixture(scope="module")
def made() -> ModelConfig:
    """The config of model A that the parameters describe, with the shipped codec and text encoder."""
    coder, encoder, params = codec.load("embedded", num_codebooks=4), text.load("embedded"), parameters()
    inputs = Inputs(
        codec=coder.fingerprint, codebook_size=coder.codebook_size, num_codebooks=4, frame_rate=float(coder.frame_rate),
        rate=coder.rate, text=encoder.fingerprint, text_dim=encoder.dim, max_text=params.text.max_tokens, max_prompt_frames=50,
    )  # fmt: skip
    return model_config(params, inputs)


def saved(place: Path, config: ModelConfig, name: str = "own.safetensors") -> Path:
    """A model of that config in a file of the repository."""
    path = place / "repository" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    models.save(path, models.build(config), {"names": {"codec": "embedded", "text": "embedded"}})
    return path


def test_the_content_of_the_model_that_a_training_starts_from_is_noted(place: Path, made: ModelConfig) -> None:
    found = {}
    path = saved(place, made)
    for seed in (1, 2):
        torch.manual_seed(seed)
        saved(place, made)
        os.utime(path, ns=(1, 1))  # as long as before, and as old
        found[seed] = noted(starting_from("own.safetensors"))
        assert json.loads(found[seed]["init"]) == {"sha256": file_sha256(path)}
    assert {name for name in found[1] if found[1][name] != found[2][name]} == {"init"}
    assert json.loads(noted(parameters())["init"]) == {}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"type": "b"}, r"model\.type: the model has 'b', here it is 'a'; set model\.type to b"),
        ({"pattern": "parallel"}, r"model\.pattern: the model has 'parallel', here it is 'delay'"),
        ({"d_model": 64, "heads": 2}, r"model\.a\.d_model: the model has 64, here it is 192"),
        ({"codec": "0123"}, r"codec\.name: the model has '0123', .*no version shipped that one: set codec\.name to"),
        ({"text": "0123"}, r"text\.name: the model has '0123', .*no version shipped that one: set text\.name to"),
    ],
)
def test_a_model_of_another_kind_is_refused_before_anything_runs(
    place: Path, made: ModelConfig, changes: dict[str, Any], named: str
) -> None:
    path = saved(place, replace(made, **changes))
    with pytest.raises(UserError, match=rf"train\.init 'own\.safetensors' \({path}\)[^$]*{named}"):
        check.main(starting_from("own.safetensors", steps=0))
    assert not EXTERNAL.exists()


def test_a_model_that_is_not_there_not_whole_or_the_stages_own_is_refused(place: Path, made: ModelConfig) -> None:
    saved(place, made, str(MODEL))
    whole = saved(place, made)
    whole.with_name("half.safetensors").write_bytes(whole.read_bytes()[:5000])
    for name, message in {
        "gone.safetensors": rf"there is no file {place}/repository/gone\.safetensors; allowed are nothing",
        "./gone": r"there is no file .*; allowed are nothing",
        "data/model": r"data/model is a folder; allowed are nothing",
        "half.safetensors": r"half\.safetensors: not a whole safetensors file",
        str(MODEL): r"the train stage writes this file itself; copy it out of data/model",
        "gone-run": r"mlflow\.db: no mlflow\.db here; .*; allowed are nothing",
    }.items():
        with pytest.raises(UserError, match=rf"train\.init '{name}': .*{message}"):
            check.main(starting_from(name))
    assert not EXTERNAL.exists()


@pytest.mark.parametrize("type", ["a", "b"])
def test_what_differs_from_the_shipped_model_is_named(place: Path, type: str) -> None:
    with pytest.raises(
        UserError, match=rf"model\.{type}\.d_model: the model has 320, here it is \d+; set model\.{type}"
    ):
        check.main(starting_from("shipped", type))


def test_a_shipped_model_is_found_by_its_type_and_a_damaged_one_refused(
    place: Path, made: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = saved(place, made, "models/a.safetensors")
    write_manifest(place / "repository", commit="abc123")
    monkeypatch.setattr(shipped, "ROOT", place / "repository")
    assert json.loads(noted(starting_from("shipped"))["init"]) == {"sha256": file_sha256(file)}
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match=r"train\.init 'shipped': .*models/a\.safetensors: damaged: sha256 is"):
        check.main(starting_from("shipped"))


def test_weights_that_the_device_does_not_hold_stop_before_anything_runs(place: Path) -> None:
    params = parameters()
    sample = params.sample.model_copy(update={"weights": "float16"})
    compute = params.compute.model_copy(update={"device": "cpu"})
    with pytest.raises(UserError, match=r"sample.weights: found 'float16'; on cpu float32, bfloat16, int8"):
        check.main(params.model_copy(update={"sample": sample, "compute": compute}))
    sample = params.sample.model_copy(update={"kv_cache": "float16"})
    with pytest.raises(
        UserError, match=r"sample.kv_cache: found 'float16'; on cpu auto, float32, bfloat16 are allowed"
    ):
        check.main(params.model_copy(update={"sample": sample, "compute": compute}))


def test_a_cluster_that_is_not_there_stops_before_anything_runs(place: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    params = parameters()
    compute = params.compute.model_copy(update={"engine": "ray", "address": "127.0.0.1:1"})
    with pytest.raises(UserError, match=r"compute\.address: found '127\.0\.0\.1:1', where no Ray cluster answers"):
        check.main(params.model_copy(update={"compute": compute}))


def test_a_model_of_single_clips_that_is_not_there_is_named_before_anything_runs(place: Path) -> None:
    for name, found, message in (
        ("passt", "passt.pt", r"score\.passt.*(there is no file passt\.pt|needs the package hear21passt)"),
        ("aesthetics", "./model", r"score\.aesthetics.*(there is no directory \./model|needs the package audiobox)"),
    ):
        params = parameters()
        score = params.score.model_copy(update={name: found})
        with pytest.raises(UserError, match=message):
            check.main(params.model_copy(update={"score": score}))
    assert not EXTERNAL.exists()
    noted(parameters())
    assert json.loads((EXTERNAL / "clip_models.json").read_text()) == {}, "nothing is named"
