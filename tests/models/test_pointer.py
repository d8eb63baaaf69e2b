"""The pointer head beside slow loops, in every pattern, in one pass and step by step."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from musicgen_lite.generation import Sampling, generate
from musicgen_lite.models import LanguageModel, ModelConfig
from musicgen_lite.models.core.loss import cell_nll
from musicgen_lite.models.core.pointer import PointerHead
from tests.support.models_tiny import CONFIG, VARIANTS, cells_in_steps_and_in_one_pass, conditions, random_codes, tiny

KINDS = [(kind, pattern) for kind in "ab" for pattern in ("interleaved", "delay", "parallel")]
FRAMES = 12


def pointing(kind: str, pattern: str, **changes: Any) -> LanguageModel:
    return tiny(kind, pattern, scale=4.0, pointer_dim=8, **changes)


def returning(rows: int = 3) -> torch.Tensor:
    """Codes whose second half is their first."""
    codes = random_codes(rows, FRAMES)
    codes[:, :, FRAMES // 2 :] = codes[:, :, : FRAMES // 2]
    return codes


def by_loops(head: PointerHead, logits: torch.Tensor, hidden: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Probabilities `[N_q, B, T, K]`, cell by cell as the docstrings say."""
    out = torch.zeros_like(logits)
    for q, b, t in torch.cartesian_prod(*map(torch.arange, logits.shape[:3])).tolist():
        softmax = logits[q, b, t].softmax(-1)
        if t == 0:
            out[q, b, t] = softmax
            continue
        state = F.normalize(hidden[q, b, t] @ head.query[q], dim=0)
        scores = [state @ F.normalize(hidden[q, b, s] @ head.key[q], dim=0) for s in range(t)]
        weights = (torch.stack(scores) * head.temperature[q].exp()).softmax(-1)
        gate = torch.sigmoid(hidden[q, b, t] @ head.gate[q] + head.gate_bias[q])
        pointed = torch.zeros_like(softmax).index_add(0, codes[b, q, :t], weights)
        out[q, b, t] = (1 - gate) * softmax + gate * pointed
    return out


@torch.no_grad()
def test_each_cell_mixes_its_softmax_with_the_codes_it_points_at() -> None:
    torch.manual_seed(0)
    head = PointerHead(num_codebooks=2, d_model=6, dim=3)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    logits, hidden, codes = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 6), torch.randint(0, 4, (3, 2, 5))
    expected = by_loops(head, logits, hidden, codes)
    torch.testing.assert_close(head(logits, hidden, codes).exp(), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("kind", "pattern"), KINDS)
@torch.no_grad()
def test_probabilities_sum_to_one_and_later_codes_change_nothing(kind: str, pattern: str) -> None:
    model, codes, given = pointing(kind, pattern), returning(), conditions(3, kind)
    found = model(codes, given)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(3, 4, FRAMES), atol=1e-4, rtol=0)
    step = model.pattern.layout(FRAMES, 4).step
    changed = codes.clone()
    changed[:, 1, 8] = (changed[:, 1, 8] + 1) % CONFIG["codebook_size"]
    seen = (model(changed, given) - found).abs().amax(dim=(0, 3)) > 1e-6
    assert not seen[step <= step[1, 8]].any()
    assert seen[1, 9]


@pytest.mark.parametrize(("kind", "pattern"), KINDS)
def test_the_loss_is_that_of_the_whole_distributions_and_so_are_its_gradients(kind: str, pattern: str) -> None:
    model, codes, given = pointing(kind, pattern), returning(), conditions(3, kind)
    mask = torch.arange(FRAMES) < torch.tensor([[FRAMES], [1], [7]])
    codes = codes.masked_fill(~mask[:, None], CONFIG["codebook_size"])
    expected = cell_nll(model(codes, given), codes, mask)
    wanted = torch.autograd.grad(expected.sum(), list(model.parameters()), allow_unused=True)
    found = model.nll(codes, given, mask)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert not found.masked_select(~mask[:, None].expand_as(found)).any()
    for one, other in zip(
        torch.autograd.grad(found.sum(), list(model.parameters()), allow_unused=True), wanted, strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(("kind", "pattern", "positions"), [v for v in VARIANTS if v[0] != "musicgen"])
@pytest.mark.parametrize("begun", [0, 3])
@torch.no_grad()
def test_steps_give_what_one_pass_gives_in_torch_and_in_the_kernels(
    kind: str, pattern: str, positions: str, begun: int
) -> None:
    model, codes, given = pointing(kind, pattern, positions=positions), returning(), conditions(3, kind)
    for slow, fast, expected in cells_in_steps_and_in_one_pass(model, given, codes, begun):
        torch.testing.assert_close(slow.exp(), expected.exp(), atol=1e-5, rtol=0)
        torch.testing.assert_close(fast.exp(), expected.exp(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("pattern", ["interleaved", "delay"])
def test_an_items_codes_depend_on_no_other_item(pattern: str) -> None:
    model, given = pointing("a", pattern), conditions(5, "a")
    sampling = Sampling(guidance=2.0)
    together = generate(model, given, FRAMES, sampling, range(5))
    assert torch.equal(generate(model, given[3:4], FRAMES, sampling, [3]), together[3:4])
    continued = generate(model, given, FRAMES, sampling, range(5), prefix_codes=together[:, :, :4])
    assert torch.equal(continued[:, :, :4], together[:, :, :4])


@torch.no_grad()
def test_what_returns_is_cheaper_before_any_training() -> None:
    """Random codes that repeat once: nothing but pointing can predict the second half."""
    sizes = {"codebook_size": 64, "d_model": 64, "max_frames": 200}
    codes = torch.randint(0, 64, (2, 4, 100), generator=torch.Generator().manual_seed(0)).repeat(1, 1, 2)
    means = {}
    for dim in (0, 32):
        model = tiny("a", "delay", scale=1.0, pointer_dim=dim, **sizes)
        nll = cell_nll(model(codes, conditions(2, "a")), codes)
        means[dim] = nll[..., 120:].mean() - nll[..., :80].mean()
    assert abs(means[0]) < 0.1
    assert means[32] < -0.5


def test_a_file_from_before_the_pointer_head_has_none() -> None:
    old = ModelConfig(**CONFIG).to_dict()
    del old["pointer_dim"]
    assert ModelConfig.from_dict(old).pointer_dim == 0
