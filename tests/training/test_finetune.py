"""MusicGen trained on: whole and by LoRA, which adds to what it is told to, starts as nothing, and ends in a plain model."""

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from musicgen_lite import models
from musicgen_lite.errors import UserError
from musicgen_lite.generation import Sampling, generate
from musicgen_lite.initial import Initial, locate
from musicgen_lite.io.arrays import ArrayStore
from musicgen_lite.models import Conditions, LanguageModel
from musicgen_lite.params import Params
from musicgen_lite.training import lora
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.export import TrainingResult
from musicgen_lite.training.setup import TrainingSetup, set_up
from tests.support import corpora, finetuning
from tests.support.corpora import paths, run, state, tiny_params
from tests.support.finetuning import TARGETS
from tests.support.models_tiny import KINDS, conditions, random_codes, tiny

pytestmark = pytest.mark.slow
Stores = tuple[Path, Path]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finetuning.checkpoint(tmp_path_factory.mktemp("musicgen"))


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return finetuning.write_corpus(tmp_path_factory.mktemp("corpus"))


def start(params: Params) -> Initial:
    def no_run(*_: Any) -> Path:
        raise AssertionError("no MLflow run is looked for")

    found = locate(params, Path.cwd(), no_run)
    assert found is not None
    return found


def setup(params: Params, stores: Stores) -> TrainingSetup:
    return set_up(params, Corpus(*stores), start(params))


def tune(folder: Path, params: Params, stores: Stores, **options: Any) -> TrainingResult:
    return run(folder, params, stores, initial=start(params), **options)


def weights(model: LanguageModel) -> dict[str, torch.Tensor]:
    return model.state_dict()


def written(folder: Path) -> LanguageModel:
    return models.load(paths(folder).model)[0]


def by_heart(model: LanguageModel, stores: Stores) -> float:
    """The share of the codes of the training clips that greedy decoding gives for their captions."""
    targets, texts = ArrayStore(stores[0] / "target"), ArrayStore(stores[1])
    keys = [key for key in finetuning.CAPTIONS if key.startswith("t")]
    given = Conditions.from_arrays([texts[key] for key in keys])
    found = generate(model, given, finetuning.FRAMES, Sampling(top_k=1, guidance=1.0), range(len(keys))).numpy()
    return float((found == np.stack([targets[key].T for key in keys])).mean())


@pytest.mark.parametrize(("rank", "steps"), [(0, 200), (32, 300)])
def test_it_learns_its_clips_by_heart(tmp_path: Path, rank: int, steps: int) -> None:
    published = finetuning.checkpoint(tmp_path / "musicgen", hidden_size=256, ffn_dim=1024, num_hidden_layers=1)
    stores = finetuning.write_corpus(tmp_path)
    options: dict[str, Any] = {"batch_size": 8, "effective_batch_size": 8, "ema_decay": 0.9, "validations": 1}
    params = finetuning.params(published, rank, 0.0, steps=steps, learning_rate=0.005, **options)
    assert by_heart(start(params).load()[0], stores) < 0.05
    tune(tmp_path, params, stores)
    assert by_heart(written(tmp_path), stores) == 1.0


@pytest.mark.parametrize(("kind", "pattern"), KINDS)
def test_lora_begins_as_the_very_model(kind: str, pattern: str) -> None:
    base = tiny(kind, pattern)
    told, codes, model = conditions(3, kind), random_codes(3, 8), copy.deepcopy(base)
    known = lora.linear_layers(model.config)
    assert {"attention.qkv", "attention.out", "up", "down"} <= set(known)
    lora.adapt(model, adding(known, rank=3))
    with torch.no_grad():
        assert torch.equal(model(codes, told), base(codes, told))
    merged = lora.merged(model)
    assert weights(merged).keys() == weights(base).keys()
    assert all(torch.equal(value, weights(base)[name]) for name, value in weights(merged).items())
    assert lora.merged(base) is base


@pytest.mark.parametrize("kind", ["a", "b"])
def test_the_other_models_are_tuned_by_lora_too(tmp_path: Path, kind: str) -> None:
    stores = corpora.write_corpus(tmp_path)
    run(tmp_path / "first", tiny_params(kind, steps=2, validations=1), stores)
    added = {"rank": 2, "alpha": 2.0, "targets": ["attention.out", "up"], "dropout": 0.1}
    params = tiny_params(kind, init=str(paths(tmp_path / "first").model), steps=3, validations=1, lora=added)
    tune(tmp_path / "tuned", params, stores)
    before, after = (weights(written(tmp_path / name)) for name in ("first", "tuned"))
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"blocks.0.attention.out.weight", "blocks.0.up.weight"}


def adding(targets: list[str], rank: int, **changes: Any) -> Any:
    chosen = finetuning.params("shipped", rank).train.lora
    return chosen.model_copy(update={"targets": tuple(targets), **changes})


@pytest.mark.parametrize("targets", [["attention.qkv", "cross.out"], TARGETS, ["text_projection", "up"]])
def test_lora_trains_rank_times_inputs_and_outputs_of_each_target_and_nothing_else(
    tmp_path: Path, published: Path, stores: Stores, targets: list[str]
) -> None:
    params = finetuning.params(published, 3, steps=2, validations=1)
    params = params.model_copy(update={"train": params.train.model_copy(update={"lora": adding(targets, 3)})})
    base = start(params).load()[0]
    matrices = {
        f"{name}.weight": module
        for name, module in base.named_modules()
        if isinstance(module, torch.nn.Linear) and name.removeprefix("blocks.0.").removeprefix("blocks.1.") in targets
    }
    count = sum(3 * (module.in_features + module.out_features) for module in matrices.values())
    assert len(matrices) == sum(1 if name == "text_projection" else 2 for name in targets)
    trained = [parameter for parameter in setup(params, stores).model.parameters() if parameter.requires_grad]
    assert sum(parameter.numel() for parameter in trained) == count

    result = tune(tmp_path, params, stores)
    before, after = weights(base), weights(written(tmp_path))
    assert {name for name, value in after.items() if not torch.equal(value, before[name])} == set(matrices)
    for name in matrices:
        assert torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-3) == 3
    assert result.parameters == sum(value.numel() for value in before.values())
    # Nothing frozen is in a checkpoint: of a large model that would be gigabytes, every half minute.
    kept = state(tmp_path)
    for part in ("state_dict", "current_model_state"):
        own = {name: value for name, value in kept.items() if name.startswith(f"{part}/")}
        assert all(".lora_" in name for name in own)
        assert sum(value.numel() for value in own.values()) == count


def test_a_killed_lora_training_goes_on_and_ends_the_same(tmp_path: Path, published: Path, stores: Stores) -> None:
    params = finetuning.params(published, 2, steps=6, validations=2)
    tune(tmp_path / "whole", params, stores)
    asked = iter(range(1, 100))
    with pytest.raises(KeyboardInterrupt):
        tune(tmp_path / "broken", params, stores, stop=lambda: next(asked) == 4)
    tune(tmp_path / "broken", params, stores)
    for file in ("model.safetensors", "curves.json"):
        assert (tmp_path / "broken" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_a_preview_and_the_file_are_of_the_whole_model(tmp_path: Path, published: Path, stores: Stores) -> None:
    """Decoders read the weights of layers: those of a model with additions would be those before the training."""
    seen: list[LanguageModel] = []
    params = finetuning.params(published, 4, steps=4, validations=1, preview_every=1)
    tune(tmp_path, params, stores, preview=lambda model, step: seen.append(copy.deepcopy(model)))
    [shown], after = [weights(model) for model in seen], weights(written(tmp_path))
    assert all(torch.equal(value, after[name]) for name, value in shown.items())
    assert shown.keys() == after.keys()


def test_without_steps_the_published_model_is_scored_as_it_is(tmp_path: Path, published: Path, stores: Stores) -> None:
    params = finetuning.params(published, 4, steps=0)
    result = tune(tmp_path, params, stores)
    base, model = start(params).load()[0], written(tmp_path)
    assert all(torch.equal(value, weights(base)[name]) for name, value in weights(model).items())
    assert model.config == base.config
    assert result.initial.startswith(f"{published}, sha256 ")


def test_a_tuned_model_is_tuned_on_and_knows_clips_as_long_as_before(
    tmp_path: Path, published: Path, stores: Stores
) -> None:
    tune(tmp_path / "first", finetuning.params(published, 4, steps=2, validations=1), stores)
    again = finetuning.params(paths(tmp_path / "first").model, steps=2, validations=1, gradient_checkpointing=True)
    tune(tmp_path / "again", again, stores)
    config, extra = written(tmp_path / "again").config, models.load(paths(tmp_path / "again").model)[1]
    assert (config.type, config.max_frames, config.max_text) == ("musicgen", 1500, finetuning.MAX_TEXT)
    assert extra["names"] == {"codec": "embedded", "text": "embedded"}
    assert "first/model.safetensors, sha256" in extra["initial"]


def test_checkpointed_gradients_are_the_same_numbers(tmp_path: Path, published: Path, stores: Stores) -> None:
    for rank in (0, 2):
        found = []
        for checkpointing in (False, True):
            folder = tmp_path / f"{rank}-{checkpointing}"
            params = finetuning.params(published, rank, steps=2, validations=1, gradient_checkpointing=checkpointing)
            tune(folder, params, stores)
            found.append(weights(written(folder)))
        assert all(torch.allclose(value, found[1][name], atol=1e-6) for name, value in found[0].items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fingerprint": "0123456789abcdef"}, r"codec\.name: the model has '\w{16}', here it is '0123456789abcdef'; .*set codec"),
        ({"codebook_size": 1024, "fingerprint": "0123"}, r"codec\.name: the model has "),
    ],
)  # fmt: skip
def test_codes_of_another_codec_are_refused(
    tmp_path: Path, published: Path, changes: dict[str, Any], message: str
) -> None:
    stores = finetuning.write_corpus(tmp_path, **changes)
    with pytest.raises(UserError, match=rf"train\.init '{published}' .*is another kind of model:\n  {message}"):
        tune(tmp_path, finetuning.params(published, 2), stores)


def test_targets_that_match_nothing_and_a_missing_peft_are_named(
    published: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = finetuning.params(published, 2)
    wrong = params.train.model_copy(update={"lora": adding(["up", "q_proj", "qkv"], 2)})
    with pytest.raises(
        UserError,
        match=r"train\.lora\.targets: found q_proj, qkv, which model\.type musicgen does not have; it has attention\.qkv, "
        r"attention\.out, up, down, cross\.q, cross\.kv, cross\.out, text_projection$",
    ):
        setup(params.model_copy(update={"train": wrong}), stores)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(
        UserError,
        match=r'train\.lora needs the package peft .*`pip install "musicgen-lite\[finetune\]"`.*set train\.lora\.rank to 0',
    ):
        setup(params, stores)
    setup(finetuning.params(published), stores)  # whole, it needs none
