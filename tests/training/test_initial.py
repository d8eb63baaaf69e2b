"""A training that starts from a model: from its very weights, in every place that holds weights, and again after a kill."""

import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from musicgen_lite import models
from musicgen_lite.errors import UserError
from musicgen_lite.initial import Initial, check_fits
from musicgen_lite.io.audio import num_frames
from musicgen_lite.io.hashing import file_sha256
from musicgen_lite.models import ModelConfig
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.module import TrainingModule
from musicgen_lite.training.setup import set_up
from tests.support.corpora import run, state, tiny_params, write_corpus
from tests.support.models_tiny import CONFIG

AFTER: dict[str, Any] = {"init": "first", "steps": 4, "validations": 2}


def of(path: Path, name: str = "first") -> Initial:
    return Initial(name, path, file_sha256(path))


def weights(path: Path) -> dict[str, torch.Tensor]:
    return models.load(path)[0].state_dict()


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, stores: tuple[Path, Path]) -> Path:
    """The folder of a training of model B from random weights."""
    folder = tmp_path_factory.mktemp("first")
    run(folder, tiny_params("b", steps=30, validations=3), stores)
    return folder


def test_without_steps_the_model_is_written_as_it_is_with_the_loss_that_it_had(
    tmp_path: Path, stores: tuple[Path, Path], first: Path
) -> None:
    source = first / "model.safetensors"
    result = run(tmp_path, tiny_params("b", init="first", steps=0), stores, initial=of(source))
    assert_equal(weights(tmp_path / "model.safetensors"), weights(source))
    assert models.load(tmp_path / "model.safetensors")[0].config == models.load(source)[0].config
    loss = models.load(source)[1]["val_loss"]
    assert [(row["step"], row["val_loss"]) for row in result.rows] == [(0, loss)]
    assert (result.best_step, result.val_loss, result.timings) == (0, loss, [])
    assert result.initial == f"first, sha256 {file_sha256(source)[:16]}"
    assert not (tmp_path / "checkpoints").exists()


def test_a_training_from_a_model_goes_on_at_its_loss(tmp_path: Path, stores: tuple[Path, Path], first: Path) -> None:
    source, params = first / "model.safetensors", tiny_params("b", **AFTER)
    tuned = run(tmp_path / "tuned", params, stores, initial=of(source))
    scratch = run(tmp_path / "scratch", tiny_params("b", **AFTER | {"init": ""}), stores)
    assert tuned.rows[0]["train_loss"] < scratch.rows[0]["train_loss"] - 0.1
    assert tuned.rows[0]["val_loss"] < scratch.rows[0]["val_loss"] - 0.1
    # The schedule is that of any training.
    assert [row["learning_rate"] for row in tuned.rows] == [row["learning_rate"] for row in scratch.rows]
    model, extra = models.load(tmp_path / "tuned" / "model.safetensors")
    assert extra["initial"] == tuned.initial == of(source).label
    assert model.config == models.load(source)[0].config


def test_averages_begin_at_the_model_and_those_of_random_weights_at_the_first_step(
    tmp_path: Path, stores: tuple[Path, Path], first: Path
) -> None:
    source = first / "model.safetensors"
    once: dict[str, Any] = {"steps": 1, "validations": 1}
    for name, initial in (("first", of(source)), ("", None)):
        run(tmp_path / name, tiny_params("b", init=name, **once), stores, initial=initial)
    begun = weights(source)
    found = state(tmp_path / "first")
    for name, start in begun.items():
        current, average = found[f"current_model_state/model.{name}"], found[f"state_dict/model.{name}"]
        assert torch.equal(average, torch.lerp(start, current, 1 - 2 / 11)), name
    assert any(not torch.equal(found[f"current_model_state/model.{name}"], start) for name, start in begun.items())
    random = state(tmp_path)
    assert all(torch.equal(random[f"state_dict/model.{n}"], random[f"current_model_state/model.{n}"]) for n in begun)


def test_a_killed_training_from_a_model_goes_on_and_ends_the_same(
    tmp_path: Path,
    stores: tuple[Path, Path],
    first: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    params, initial = tiny_params("b", **AFTER), of(first / "model.safetensors")
    run(tmp_path / "whole", params, stores, initial=initial)
    asked = iter(range(1, 100))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", params, stores, initial=initial, stop=lambda: next(asked) == 3)
    assert "train: stopped at step 3; the same command goes on from there\n" in capsys.readouterr().err
    steps: list[int] = []
    original = TrainingModule.training_step

    def count(module: TrainingModule, batch: Any, batch_idx: int) -> Any:
        steps.append(module.global_step)
        return original(module, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", count)
    run(tmp_path / "broken", params, stores, initial=initial)
    assert steps == [3, 3]
    assert_equal(state(tmp_path / "broken"), state(tmp_path / "whole"))
    for file in ("model.safetensors", "curves.json"):
        assert (tmp_path / "broken" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_checkpoints_of_a_training_from_another_model_are_refused(
    tmp_path: Path, stores: tuple[Path, Path], first: Path
) -> None:
    """Also where it goes by the same name."""
    params, source = tiny_params("b", **AFTER), first / "model.safetensors"
    run(tmp_path, params, stores, initial=of(source))
    model, extra = models.load(source)
    models.save(tmp_path / "other.safetensors", model, {**extra, "step": -1})
    with pytest.raises(UserError, match="other parameters or data"):
        run(tmp_path, params, stores, initial=of(tmp_path / "other.safetensors"))


def test_a_model_for_longer_texts_prompts_and_clips_serves_shorter_ones(
    tmp_path: Path, stores: tuple[Path, Path]
) -> None:
    corpus = Corpus(*stores)
    wanted = set_up(tiny_params("b"), corpus).model.config
    longer = replace(wanted, max_text=9, max_prompt_frames=8, max_frames=20, dropout=0.5)
    made = models.build(longer)
    models.save(tmp_path / "longer.safetensors", made)
    setup = set_up(tiny_params("b", init="longer", steps=0), corpus, of(tmp_path / "longer.safetensors"))
    assert setup.model.config == replace(longer, max_frames=wanted.max_frames, dropout=wanted.dropout)
    assert_equal(setup.model.state_dict(), made.state_dict())


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"type": "a", "pattern": "parallel"}, ["model.type: the model has 'a', here it is 'b'; set model.type to a, "]),
    ({"pattern": "parallel"}, ["model.pattern: the model has 'parallel', here it is 'delay'; set model.pattern to parallel"]),
    ({"d_model": 24, "heads": 3}, ["model.b.d_model: the model has 24,", "model.b.heads: the model has 3, "]),
    ({"layers": 3}, ["model.b.layers: the model has 3,"]),
    ({"positions": "learned"}, ["model.b.positions: the model has 'learned', "]),
    ({"beat": True}, ["model.b.beat: the model has True, here it is False; set model.b.beat to true, or"]),
    ({"pointer_dim": 2}, ["model.b.pointer_dim: the model has 2, here it is 0; set model.b.pointer_dim to 2"]),
    ({"codec": "other", "codebook_size": 99}, ["codec.name: the model has 'other',.* its name there was mine.* set codec.name"]),
    ({"codec": "other", "num_codebooks": 1}, ["codec.num_codebooks: the model has 1,"]),
    ({"text": "other", "text_dim": 99}, ["text.name: the model has 'other',.* its name there was not noted.* set text.name"]),
    ({"max_text": 1}, ["text.max_tokens: the model has 1, .*; set text.max_tokens to at most 1,"]),
    ({"max_prompt_frames": 1}, ["data.prompt_seconds: the model has 0.02 s, here it is 0.14 s; set data.prompt_seconds to 0.02"]),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "lines"), WRONG, ids=[next(iter(changes)) for changes, _ in WRONG])
def test_each_difference_is_named_once_with_its_remedy(changes: dict[str, Any], lines: list[str]) -> None:
    wanted = ModelConfig(**{**CONFIG, "type": "b", "pattern": "delay"})
    initial = Initial("mine", Path("mine.safetensors"), "0" * 64)
    with pytest.raises(UserError) as error:
        check_fits(initial, replace(wanted, **changes), wanted, {"codec": "mine"}, steps=1)
    head, *found = str(error.value).splitlines()
    assert head == "train.init 'mine' (mine.safetensors) is another kind of model:"
    assert len(found) == len(lines)
    for line, expected in zip(found, lines, strict=True):
        assert re.match(f"  {expected}", line), line
        assert line.endswith("or name another model")


@pytest.mark.parametrize(
    ("positions", "steps", "change", "refused"),
    [("sinusoidal", 1, 5, False), ("sinusoidal", 1, -5, False), ("sinusoidal", 0, 5, False), ("sinusoidal", 0, -5, True),
     ("learned", 1, 5, True), ("learned", 1, 0, False)],
)  # fmt: skip
def test_clips_of_another_length_are_refused_where_the_model_cannot_know_them(
    positions: str, steps: int, change: int, refused: bool
) -> None:
    wanted = ModelConfig(**{**CONFIG, "positions": positions})
    found = replace(wanted, max_frames=wanted.max_frames + change)
    initial = Initial("mine", Path("mine.safetensors"), "0" * 64)
    length = f"set train.crop_seconds to {found.max_frames / 50:g}, "
    with pytest.raises(UserError, match=length) if refused else nullcontext():
        check_fits(initial, found, wanted, {}, steps)


def test_the_length_to_set_gives_the_frames_of_the_model_where_a_second_is_no_whole_number_of_them() -> None:
    rate, frame_rate = 44100, 44100 / 512
    wanted = ModelConfig(**{**CONFIG, "positions": "learned", "frame_rate": frame_rate, "rate": rate})
    for frames in range(2500, 2600):
        with pytest.raises(UserError) as error:
            check_fits(Initial("mine", Path("mine"), "0"), replace(wanted, max_frames=frames), wanted, {}, 1)
        [seconds] = re.findall(r"set train\.crop_seconds to ([\d.]+),", str(error.value))
        assert num_frames(float(seconds), rate, frame_rate) == frames
