"""Rotary positions: rotations beside complex numbers one by one, and what they mean for a model."""

import cmath

import pytest
import torch

from musicgen_lite.errors import UserError
from musicgen_lite.generation import Sampling, generate, generate_long, prepare
from musicgen_lite.models import ModelConfig
from musicgen_lite.models.core import base
from musicgen_lite.models.core.transformer import Positions, SelfAttention, rotate, rotations
from tests.support.models_tiny import CONFIG, conditions, random_codes, tiny

CPU = torch.device("cpu")
PATTERNS = pytest.mark.parametrize("pattern", ["interleaved", "delay", "parallel"])


def by_loops(x: torch.Tensor, prefix: int) -> torch.Tensor:
    """x `[B, H, P + S, d_head]`, each pair times exp(i * step * 10000 ** (-2 pair / d_head)), the prefix's times 1."""
    out = torch.empty_like(x)
    for *row, position, pair in torch.cartesian_prod(*map(torch.arange, (*x.shape[:3], x.shape[3] // 2))).tolist():
        place = (*row, position)
        turn = cmath.exp(1j * max(0, position - prefix) * 10000.0 ** (-2 * pair / x.shape[3]))
        turned = complex(*x[place][2 * pair : 2 * pair + 2].tolist()) * turn
        out[place][2 * pair], out[place][2 * pair + 1] = turned.real, turned.imag
    return out


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("prefix", [0, 3])
def test_each_pair_turns_by_its_step_and_the_prefix_does_not(prefix: int, gradients: bool) -> None:
    x = torch.randn(2, 2, prefix + 40, 6, generator=torch.Generator().manual_seed(0))
    with torch.set_grad_enabled(gradients):
        torch.testing.assert_close(rotate(x, rotations(prefix, 40, 6, CPU)), by_loops(x, prefix), atol=2e-6, rtol=0)


def test_tables_stay_exact_far_into_a_clip_and_whatever_the_model_computes_in() -> None:
    table = rotations(0, 6001, 64, CPU)
    assert abs(complex(table[6000, 0]) - cmath.exp(6000j)) < 1e-6
    assert tiny("b", "delay", positions="rotary").bfloat16().start(conditions(1, "b"), 12).positions.rotations is (
        rotations(0, 15, 16, CPU)
    )


def test_a_score_depends_on_the_distance_of_two_steps_alone() -> None:
    q, k = torch.randn(2, 1, 1, 1, 16, generator=torch.Generator().manual_seed(0))
    queries, keys = (rotate(x.expand(-1, -1, 300, -1), rotations(0, 300, 16, CPU))[0, 0] for x in (q, k))
    scores = queries @ keys.T
    for distance in (0, 1, 7, 250):
        diagonal = scores.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=0)
    assert scores[:, 0].std() > 0.1


@torch.no_grad()
def test_attention_to_the_same_steps_later_is_the_same() -> None:
    torch.manual_seed(0)
    attention, x, table = SelfAttention(32, 2), torch.randn(2, 9, 32), rotations(0, 60, 16, CPU)
    early, late = (attention(x, Positions(None, table[start : start + 9])) for start in (0, 51))
    torch.testing.assert_close(early, late, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["a", "b"])
@torch.no_grad()
def test_the_order_of_earlier_codes_is_heard_by_rotations_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single layer, and a pattern in which exchanging two frames exchanges two inputs."""
    model, given, codes = tiny(kind, "parallel", layers=1, positions="rotary"), conditions(1, kind), random_codes(1, 12)
    exchanged = codes[:, :, [0, 4, 2, 3, 1, *range(5, 12)]]

    def heard() -> float:
        return float((model(exchanged, given) - model(codes, given))[:, :, 10].abs().max())

    assert heard() > 1e-2
    monkeypatch.setattr(base, "rotations", lambda *sizes: torch.ones_like(rotations(*sizes)))
    assert heard() < 1e-4


@torch.no_grad()
def test_bits_do_not_depend_on_where_threads_divide_the_work() -> None:
    x, table = torch.randn(8, 8, 253, 24, generator=torch.Generator().manual_seed(0)), rotations(0, 253, 24, CPU)
    found = []
    for count in (1, 2, 3, 5):
        torch.set_num_threads(count)
        found.append(rotate(x, table))
    assert all(torch.equal(found[0], other) for other in found)


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("pointer_dim", [0, 8])
@PATTERNS
@pytest.mark.parametrize("kind", ["a", "b"])
def test_music_longer_than_the_window_is_made_and_a_longer_window_refused(
    kind: str, pattern: str, pointer_dim: int, weights: str
) -> None:
    model = tiny(kind, pattern, scale=3.0, positions="rotary", pointer_dim=pointer_dim)
    given, sampling, decoder = conditions(2, kind), Sampling(guidance=2.0), prepare(model, weights)
    codes = generate_long(model, given, 30, sampling, [0, 1], decoder=decoder)
    assert codes.shape == (2, 4, 30)
    assert 0 <= int(codes.min()) <= int(codes.max()) < CONFIG["codebook_size"]
    alone = generate_long(model, given[1:], 30, sampling, [1], decoder=decoder)
    assert torch.equal(alone, codes[1:])
    with pytest.raises(UserError, match=r"this model generates 1 to 12 frames"):
        generate(model, given, 13, sampling, [0, 1], decoder=decoder)


def test_a_file_from_before_rotary_positions_has_sinusoidal_ones() -> None:
    old = ModelConfig(**CONFIG).to_dict()
    del old["positions"]
    assert ModelConfig.from_dict(old).positions == "sinusoidal"
