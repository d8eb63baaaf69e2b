"""Before anything runs, `check` names what a published MusicGen cannot be trained on with, and notes the content of what can."""

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from musicgen_lite import models, published
from musicgen_lite.errors import UserError
from musicgen_lite.params import Params
from musicgen_lite.pretrained import shipped
from stages import check, train
from stages.runtime import EXTERNAL
from tests.support import finetuning
from tests.support.stage_params import parameters

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finetuning.checkpoint(tmp_path_factory.mktemp("musicgen"))


@pytest.fixture
def repository(place: Path, made: Path) -> Path:
    """The main repository, with a published MusicGen in it."""
    shutil.copytree(made, place / "repository" / "musicgen")
    return place / "repository"


def tuning(
    init: str = "musicgen", rank: int = 4, targets: tuple[str, ...] = ("attention.qkv",), **sections: dict[str, Any]
) -> Params:
    """Parameters that tune a MusicGen by LoRA."""
    params = parameters()
    lora = params.train.lora.model_copy(update={"rank": rank, "targets": targets})
    changes: dict[str, dict[str, Any]] = {
        "model": {"type": "musicgen"}, **sections, "train": {"init": init, "lora": lora, **sections.get("train", {})},
    }  # fmt: skip
    own = {name: getattr(params, name).model_copy(update=values) for name, values in changes.items()}
    return params.model_copy(update=own)


def noted(params: Params) -> dict[str, Any]:
    check.main(params)
    return {file.stem: json.loads(file.read_text()) for file in EXTERNAL.iterdir()}


def test_the_content_of_a_published_model_is_noted_and_a_change_in_it_is_seen(repository: Path) -> None:
    first = noted(tuning())
    assert list(first["init"]) == ["sha256"]
    assert first["model"] == {}  # model.musicgen.name is not read, where train.init names one
    assert noted(tuning(rank=0)) == first
    file = repository / "musicgen" / "model.safetensors"
    status, tensors = file.stat(), load_file(file)
    tensors["decoder.lm_heads.0.weight"] += 1.0
    save_file(tensors, file, metadata={"format": "pt"})
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # as long as before, and as old
    assert file.stat().st_size == status.st_size
    assert noted(tuning())["init"] != first["init"]


def test_the_codec_and_the_text_encoder_of_the_checkpoint_are_its_own(repository: Path) -> None:
    own = {"name": "musicgen"}
    assert noted(tuning(codec=own, text=own))["init"]


def test_a_model_of_the_hub_goes_by_its_commit(place: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its cache has it, out of its reach."""
    import huggingface_hub.constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(place / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    kept = place / "hub" / "models--somebody--tiny"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text(commit)
    shutil.copytree(made, kept / "snapshots" / commit)
    own = {"name": "somebody/tiny"}
    params = tuning("somebody/tiny", codec=own, text=own)
    assert noted(params)["init"] == {"sha256": commit}
    found = train.initial_model(params)
    assert found is not None
    assert found.label == f"somebody/tiny@{commit}"
    assert found.load()[1]["names"] == {"codec": found.label, "text": found.label}
    with pytest.raises(
        UserError, match=r"train\.init: 'somebody/gone' is not a directory, and the model hub did not give it"
    ):
        check.main(tuning("somebody/gone"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": ("attention.qkv", "q_proj")}, r"train\.lora\.targets: found q_proj, .*it has attention\.qkv, attention\.out,"),
        ({"codec": {"num_codebooks": 2}}, r"codec\.num_codebooks: the model has 4, here it is 2; set codec\.num_codebooks to 4"),
        ({"codec": {"name": "other-codec"}}, r"codec\.name: the model has '\w+', here it is '\w+'; its name there was .*/musicgen"),
        ({"text": {"name": "other-text"}}, r"text\.name: the model has '\w+', here it is '\w+'; its name there was .*/musicgen"),
        ({"init": "gone"}, r"train\.init 'gone': .*allowed are nothing \(model\.musicgen\.name as it is\), .* of the hub"),
        ({"init": "./gone"}, r"train\.init: there is no directory \./gone"),
        ({"init": "gone.safetensors"}, r"train\.init 'gone\.safetensors': there is no file"),
        ({"init": "shipped"}, r"train\.init 'shipped': .*ships no model of type musicgen"),
        ({"init": "other-codec"}, r"train\.init '.*/other-codec' .*model_type .* is 'encodec', but train\.init needs 'musicgen'"),
        ({"init": "own.safetensors"}, r"model\.pattern: the model has 'parallel', here it is 'delay'"),
        ({"init": "a.safetensors"}, r"model\.type: the model has 'a', here it is 'musicgen'; set model\.type to a"),
        ({"init": "musicgen", "model": {"type": "a"}}, r"train\.init 'musicgen': .*/musicgen is a folder.* needs model\.type=musicgen"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_before_anything_runs(
    repository: Path, changes: dict[str, Any], message: str
) -> None:
    for kind in ("codec", "text"):
        shutil.copytree(shipped.path(kind), repository / f"other-{kind}")
    config = json.loads((repository / "other-codec" / "config.json").read_text())
    config["pad_mode"] = "constant"  # another codec, by its configuration
    (repository / "other-codec" / "config.json").write_text(json.dumps(config))
    config = json.loads((repository / "other-text" / "config.json").read_text())
    config["layer_norm_epsilon"] = 1e-3
    (repository / "other-text" / "config.json").write_text(json.dumps(config))
    plain = published.read(str(repository / "musicgen")).config
    for name, other in (("own", replace(plain, pattern="parallel")), ("a", replace(plain, type="a"))):
        models.save(repository / f"{name}.safetensors", models.build(other))
    with pytest.raises(UserError, match=rf"(?s){message}"):
        check.main(tuning(**changes))
    assert not EXTERNAL.exists()


def test_a_missing_peft_is_named_where_lora_is_wanted(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(
        UserError, match=r'train\.lora needs the package peft .*pip install "musicgen-lite\[finetune\]"'
    ):
        check.main(tuning())
    assert not EXTERNAL.exists()
    assert noted(tuning(rank=0))["init"]
