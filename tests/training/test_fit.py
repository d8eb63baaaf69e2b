"""One whole training: what it optimises, keeps, exports, reports and refuses."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from musicgen_lite import models
from musicgen_lite.errors import UserError
from musicgen_lite.io.files import read_json
from musicgen_lite.models import LanguageModel
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.dataset import TokenDataset
from musicgen_lite.training.module import TrainingModule, evaluate
from musicgen_lite.training.sampler import ClipLoader
from musicgen_lite.training.schedule import ema_decay
from musicgen_lite.training.setup import Hardware, choose_hardware
from tests.support.corpora import FRAMES, SIZE, run, state, tiny_params, write_corpus


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_corpus(tmp_path_factory.mktemp("corpus"), short=True)


@pytest.mark.slow
def test_a_repeated_pattern_is_learned(tmp_path: Path) -> None:
    stores = write_corpus(tmp_path)
    result = run(tmp_path, tiny_params(steps=80, validations=4, dropout=0.0, ema_decay=0.9), stores)
    losses = [row["val_loss"] for row in result.rows]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.2 * math.log(SIZE)  # a fifth of what guessing costs
    assert [row["step"] for row in result.rows] == [20, 40, 60, 80]
    assert result.rows[-1]["epoch"] == pytest.approx(80 * 4 / 10)
    assert result.parameters == sum(p.numel() for p in models.load(tmp_path / "model.safetensors")[0].parameters())


@pytest.mark.parametrize(
    ("capabilities", "precision"), [({"avx512_bf16": True}, "bf16-mixed"), ({"avx512_bf16": False, "avx2": True}, "32")]
)
def test_a_cpu_trains_in_bfloat16_where_it_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], precision: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert choose_hardware(tiny_params(precision="auto")) == Hardware("cpu", precision)


@pytest.mark.parametrize("type", ["a", "b"])
def test_the_exported_weights_are_the_ones_that_were_validated(
    tmp_path: Path, stores: tuple[Path, Path], type: str
) -> None:
    result = run(tmp_path, tiny_params(type), stores)
    model, extra = models.load(tmp_path / "model.safetensors")
    corpus = Corpus(*stores)
    data = TokenDataset(corpus, FRAMES, 0, 0.0, dropout_audio=0.0 if type == "b" else None)
    loader = ClipLoader(data, corpus.clips("validation"), 2)
    scores = evaluate(model, loader, corpus.frame_rate, torch.device("cpu"))
    best = min(result.rows, key=lambda row: row["val_loss"])
    assert scores == {name: best[name] for name in scores}
    # The name that the tokens were made under, at its commit, not the parameter's: generate finds the same weights by it.
    assert (extra["step"], extra["val_loss"]) == (best["step"], best["val_loss"]) == (result.best_step, result.val_loss)
    assert extra["names"] == {"codec": "somebody/codec@0123", "text": "t"}
    assert extra["corpus"]["variants"] == ["caption"]
    assert read_json(tmp_path / "curves.json") == result.rows

    # The weights of the last step are others, and measured apart.
    raw = {name: value for name, value in state(tmp_path).items() if name.startswith("current_model_state/")}
    model.load_state_dict({name.removeprefix("current_model_state/model."): value for name, value in raw.items()})
    assert evaluate(model, loader, corpus.frame_rate, torch.device("cpu"))["val_loss"] == result.raw_val_loss
    assert result.raw_val_loss != result.ema_val_loss == result.rows[-1]["val_loss"]


def test_the_best_of_the_validations_is_exported_not_the_last(tmp_path: Path, stores: tuple[Path, Path]) -> None:
    # The learning rate grows until nothing is left of what was learned.
    params = tiny_params(steps=20, validations=5, learning_rate=2.0, ema_decay=0.0, warmup_fraction=0.9)
    result = run(tmp_path, params, stores)
    assert result.best_step == min(result.rows, key=lambda row: row["val_loss"])["step"] < 20
    kept = sorted(result.rows, key=lambda row: row["val_loss"])[:2]
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == sorted([f"best-{row['step']:08d}.ckpt" for row in kept] + ["last.ckpt"])


def test_the_average_is_the_closed_form(
    tmp_path: Path, stores: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights: list[dict[str, torch.Tensor]] = []

    def keep(module: TrainingModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (batch_idx + 1) % 2 == 0:
            weights.append({f"model.{name}": value.clone() for name, value in module.model.state_dict().items()})

    monkeypatch.setattr(TrainingModule, "on_train_batch_end", keep)
    run(tmp_path, tiny_params(steps=9, ema_decay=0.4), stores)
    assert len(weights) == 9
    expected = weights[0]
    for updates, current in enumerate(weights[1:], start=1):
        decay = ema_decay(updates, 0.4)
        expected = {name: decay * value + (1 - decay) * current[name] for name, value in expected.items()}
    found = state(tmp_path)
    for name, value in expected.items():
        torch.testing.assert_close(found[f"state_dict/{name}"], value)
        assert torch.equal(found[f"current_model_state/{name}"], weights[-1][name])


def test_accumulated_micro_batches_equal_one_batch(tmp_path: Path, stores: tuple[Path, Path]) -> None:
    """The clips are of unequal length, so that a mean of means would differ."""
    params = {size: tiny_params(dropout=0.0, batch_size=size, steps=3) for size in (1, 2, 4)}
    results = {size: run(tmp_path / str(size), params[size], stores) for size in params}
    for size in (1, 2):
        for row, expected in zip(results[size].rows, results[4].rows, strict=True):
            assert row == pytest.approx(expected, rel=1e-4)


def test_both_models_see_the_same_clips_in_the_same_order(
    tmp_path: Path, stores: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[torch.Tensor]] = {"a": [], "b": []}
    original = TrainingModule.on_train_batch_start

    def watch(module: TrainingModule, batch: Any, batch_idx: int) -> None:
        seen[kind].append(batch.codes)
        original(module, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "on_train_batch_start", watch)
    for kind in ("a", "b"):
        run(tmp_path / kind, tiny_params(kind), stores)
    assert len(seen["a"]) == 14
    assert all(torch.equal(a, b) for a, b in zip(seen["a"], seen["b"], strict=True))


def test_previews_get_the_averaged_weights_and_leave_the_training_alone(
    tmp_path: Path, stores: tuple[Path, Path]
) -> None:
    previews: list[tuple[int, dict[str, torch.Tensor]]] = []

    def preview(model: LanguageModel, step: int) -> None:
        assert not model.training
        torch.rand(7)
        previews.append((step, {name: value.clone() for name, value in model.state_dict().items()}))

    params = tiny_params(validations=4, steps=8, preview_every=2)
    run(tmp_path / "with", params, stores, preview=preview)
    run(tmp_path / "without", params, stores)
    assert [step for step, _ in previews] == [4, 8]
    last = state(tmp_path / "with")
    assert all(torch.equal(value, last[f"state_dict/model.{name}"]) for name, value in previews[-1][1].items())
    for file in ("model.safetensors", "curves.json"):
        assert (tmp_path / "with" / file).read_bytes() == (tmp_path / "without" / file).read_bytes()


@pytest.mark.slow
def test_patience_stops_early_and_stays_stopped(tmp_path: Path, stores: tuple[Path, Path]) -> None:
    params = tiny_params(steps=20, validations=10, patience=2, learning_rate=1e-30)  # nothing ever gets better
    result = run(tmp_path, params, stores)
    assert [row["step"] for row in result.rows] == [2, 4, 6]
    (tmp_path / "model.safetensors").unlink()
    assert run(tmp_path, params, stores) == result
    assert (tmp_path / "model.safetensors").exists()


def test_the_console_shows_one_line_per_validation(
    tmp_path: Path, stores: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, tiny_params(), stores)
    output = capfd.readouterr()
    lines = output.err.splitlines()
    assert output.out == "train: on cpu, precision 32, 2 clips per micro-batch\n"
    assert [line.split("  ")[0] for line in lines] == [f"train: step {step}/7" for step in (2, 5, 7)]
    assert all("validation loss" in line and "tokens/s" in line for line in lines)


def test_a_loss_that_diverges_is_named_and_earlier_checkpoints_stay(tmp_path: Path, stores: tuple[Path, Path]) -> None:
    params = tiny_params(warmup_fraction=0.0)
    params = params.model_copy(update={"train": params.train.model_copy(update={"learning_rate": 1e30})})
    with pytest.raises(UserError, match="training step 2: loss and gradients are no finite numbers any more"):
        run(tmp_path, params, stores, checkpoint_seconds=0.0)
    assert all(value.isfinite().all() for value in state(tmp_path).values())
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ({"precision": "16-mixed"}, "train.precision: found '16-mixed', which needs a GPU"),
        (
            {"devices": 3},
            r"effective_batch_size \(4\) must be a multiple of batch_size \(2\) x devices \(3\) x num_nodes \(1\)",
        ),
    ],
)
def test_what_the_machine_cannot_do_is_said_first(
    tmp_path: Path, stores: tuple[Path, Path], train: dict[str, Any], expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        run(tmp_path, tiny_params(**train), stores)
    assert not (tmp_path / "checkpoints").exists()


def test_another_number_of_processes_than_torchrun_has_started_is_named(
    tmp_path: Path, stores: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one device each process would train for itself, into the same folder."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(
        UserError, match=r"train.devices \(1\) and train.num_nodes \(1\): .*world size \(2\).*same numbers"
    ):
        run(tmp_path, tiny_params(), stores)


TWO_PROCESSES = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from musicgen_lite.training.fit import fit
from musicgen_lite.training.corpus import Corpus
from tests.support.corpora import paths, tiny_params
here, tokens, text = map(Path, sys.argv[1:4])
params = tiny_params("b", dropout=0.0, steps=2, validations=2, devices=2, strategy="ddp", batch_size=1)
fit(params, Corpus(tokens, text), paths(here))
"""


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path, stores: tuple[Path, Path]) -> None:
    expected = run(tmp_path / "one", tiny_params("b", dropout=0.0, steps=2, validations=2), stores)
    script = tmp_path / "two.py"
    script.write_text(TWO_PROCESSES)
    tests = Path(__file__).parents[1]
    command = [sys.executable, str(script), str(tmp_path / "two"), *map(str, stores)]  # Lightning starts the second one
    environment = {**os.environ, "PYTHONPATH": f"{tests.parent}:{tests.parent / 'src'}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    rows = read_json(tmp_path / "two" / "curves.json")
    for row, wanted in zip(rows, expected.rows, strict=True):
        assert row == pytest.approx(wanted, rel=1e-5)
