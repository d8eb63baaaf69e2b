"""What makes a training fast, or small, on a GPU, tried on a CPU: it must change nothing that is learned."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from musicgen_lite import models
from musicgen_lite.errors import UserError
from musicgen_lite.models.core.transformer import Block
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.datamodule import TokenData
from musicgen_lite.training.sampler import ClipLoader, EpochSampler, StepLoader, pinned
from musicgen_lite.training.setup import Hardware, set_up
from tests.support.corpora import run, tiny_params, write_corpus
from tests.support.models_tiny import KINDS, conditions, random_codes, tiny


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_corpus(tmp_path_factory.mktemp("corpus"), short=True)


@pytest.mark.parametrize(("kind", "pattern"), KINDS)
def test_gradients_are_the_same_where_activations_are_computed_again(
    kind: str, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout included: what is dropped is dropped again."""
    model = tiny(kind, pattern, scale=3.0, dropout=0.2).train()
    passes = []
    forward = Block.forward

    def counted(self: Block, *given: Any) -> Tensor:
        passes.append(self)
        return forward(self, *given)

    monkeypatch.setattr(Block, "forward", counted)
    found = []
    for checkpointing in (False, True):
        model.gradient_checkpointing = checkpointing
        model.zero_grad()
        torch.manual_seed(3)
        passes.clear()
        loss = model.nll(random_codes(3, 9), conditions(3, kind)).sum()
        loss.backward()
        assert len(passes) == (4 if checkpointing else 2)
        found.append([loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    assert all(torch.equal(kept, again) for kept, again in zip(*found, strict=True))
    with torch.no_grad():
        passes.clear()
        model(random_codes(3, 9), conditions(3, kind))
    assert len(passes) == 2, "without gradients there is nothing to compute again"


def test_a_training_with_checkpointing_learns_the_same(tmp_path: Path, stores: tuple[Path, Path]) -> None:
    weights = []
    for checkpointing in (False, True):
        folder = tmp_path / str(checkpointing)
        run(folder, tiny_params(gradient_checkpointing=checkpointing), stores)
        weights.append(models.load(folder / "model.safetensors")[0].state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.slow
def test_a_compiled_training_learns_the_same(
    tmp_path: Path, stores: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through averaging, validation and checkpoints, with names of weights as ever."""
    compiled, real = [], torch.compile

    def eager(function: Any, **options: Any) -> Any:
        compiled.append(function)
        return real(function, backend="aot_eager", **options)

    monkeypatch.setattr(torch, "compile", eager)
    rows = [
        run(tmp_path / str(chosen), tiny_params("b", compile=chosen, dropout=0.0), stores).rows
        for chosen in (False, True)
    ]
    assert len(compiled) == 1
    for plain, other in zip(*rows, strict=True):
        assert other == pytest.approx(plain, rel=1e-4)
    models.load(tmp_path / "True" / "model.safetensors")


def test_batches_for_a_gpu_are_pinned_and_made_ahead(
    stores: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set()

    def pin(self: Tensor) -> Tensor:
        threads.add(threading.current_thread())
        return self.clone()

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    data = set_up(tiny_params("b"), Corpus(*stores)).dataset
    clips = data.corpus.clips("train")
    for plain, ahead in (
        (StepLoader(data, EpochSampler(clips, 0), 2, 4, 0, 1, 5, make=make) for make in (map, pinned)),
        (ClipLoader(data, clips, 3, make=make) for make in (map, pinned)),
    ):
        for one, other in zip(plain, ahead, strict=True):
            assert torch.equal(one.codes, other.codes)
            assert torch.equal(one.mask, other.mask)
            assert torch.equal(one.conditions.text, other.conditions.text)
            assert (one.cells, one.step_cells) == (other.cells, other.step_cells)
    assert threads
    assert threading.main_thread() not in threads


@pytest.mark.parametrize(("accelerator", "make"), [("cuda", pinned), ("cpu", map)])
def test_the_loaders_of_a_gpu_pin(
    stores: tuple[Path, Path], accelerator: str, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("musicgen_lite.training.setup.choose_hardware", lambda params: Hardware(accelerator, "32"))
    assert TokenData(set_up(tiny_params(), Corpus(*stores))).make is make


def test_too_little_memory_names_the_smaller_batch(
    tmp_path: Path, stores: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("musicgen_lite.training.module.codebook_nll", full)
    words = r"^train.batch_size: 2 at a time, which do not fit .*; set it to 1 or less, or set train.gradient_checkpointing to"
    with pytest.raises(UserError, match=words):
        run(tmp_path, tiny_params(), stores)
