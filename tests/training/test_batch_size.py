import pytest
import torch

from musicgen_lite import models
from musicgen_lite.errors import UserError
from musicgen_lite.training.batch_size import largest, optimizer_step, resolve
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.dataset import TokenDataset
from musicgen_lite.training.setup import model_config
from tests.support.corpora import tiny_params, write_corpus


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> TokenDataset:
    return TokenDataset(Corpus(*write_corpus(tmp_path_factory.mktemp("corpus"))), 10, 0, 0.1, 0.5)


@pytest.mark.parametrize(("room", "expected"), [(64, 32), (32, 32), (31, 16), (7, 4), (1, 1)])
def test_the_largest_that_fits_is_found(room: int, expected: int) -> None:
    tried: list[int] = []

    def attempt(size: int) -> None:
        tried.append(size)
        if size > room:
            raise torch.OutOfMemoryError(f"no room for {size}")

    assert largest([32, 16, 8, 4, 2, 1], attempt) == expected
    assert tried[-1] == expected
    assert all(size > room for size in tried[:-1])


def test_what_fits_nowhere_and_other_errors_are_said() -> None:
    def full(size: int) -> None:
        raise torch.OutOfMemoryError

    def broken(size: int) -> None:
        raise RuntimeError("a real error")

    with pytest.raises(UserError, match=r"train.batch_size: not even one clip fits.*lower train.crop_seconds"):
        largest([2, 1], full)
    with pytest.raises(RuntimeError, match="a real error"):
        largest([2, 1], broken)


@pytest.mark.parametrize(("whole", "expected"), [(32, 8), (12, 6), (7, 7), (11, 1)])
def test_on_a_cpu_it_is_what_divides(dataset: TokenDataset, whole: int, expected: int) -> None:
    params = tiny_params("b", batch_size="auto", effective_batch_size=whole)
    model = models.build(model_config(params, dataset.corpus.inputs))
    assert resolve(params.train, model, dataset, "cpu", None) == expected
    with pytest.raises(UserError, match=r"train.batch_size: auto tries on one device.*at most 2"):
        tiny_params("b", batch_size="auto", effective_batch_size=8, devices=4)


@pytest.mark.parametrize("kind", ["a", "b"])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_a_step_is_a_real_one_and_leaves_the_model_alone(
    dataset: TokenDataset, kind: str, dtype: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models.build(model_config(tiny_params(kind), dataset.corpus.inputs))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stepped = []
    step = torch.optim.AdamW.step

    def counted(self: torch.optim.AdamW) -> None:
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        stepped.append(sum(float(gradient.abs().sum()) for gradient in gradients))
        step(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", counted)
    optimizer_step(model, dataset, 3, "cpu", dtype)
    assert len(stepped) == 1
    assert stepped[0] > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
