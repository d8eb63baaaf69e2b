"""Clips longer than a model's window."""

import pytest
import torch

from musicgen_lite.generation import Sampling, cpu, generate, generate_long, prepare
from tests.support.models_tiny import VARIANTS, conditions, tiny

every_variant = pytest.mark.parametrize(("kind", "pattern", "positions"), VARIANTS)


def test_a_clip_within_the_window_is_generated_as_ever() -> None:
    model, given = tiny("b", "delay", scale=3.0), conditions(2, "b")
    sampling = Sampling(guidance=3.0)
    assert torch.equal(generate_long(model, given, 12, sampling, [0, 1]), generate(model, given, 12, sampling, [0, 1]))


@every_variant
def test_each_window_continues_the_second_half_of_the_one_before(kind: str, pattern: str, positions: str) -> None:
    """Greedy codes behind the first window are the likeliest ones, given the 6 frames kept and those since."""
    model, given = tiny(kind, pattern, scale=3.0, positions=positions), conditions(2, kind)
    codes = generate_long(model, given, 27, Sampling(top_k=1), [0, 1])
    assert codes.shape == (2, 4, 27)
    for start in (6, 12):
        window = codes[:, :, start : start + 12]
        with torch.no_grad():
            likeliest = model(window, given).argmax(dim=-1)
        assert torch.equal(likeliest[:, :, 6:], window[:, :, 6:])


@pytest.mark.parametrize("prefix_frames", [3, 12, 20])
def test_a_prefix_of_any_length_is_kept(prefix_frames: int) -> None:
    model, given = tiny("a", "interleaved", scale=3.0), conditions(2, "a")
    prefix_codes = torch.randint(0, 16, (2, 4, prefix_frames), generator=torch.Generator().manual_seed(1))
    codes = generate_long(model, given, prefix_frames + 10, Sampling(), [0, 1], prefix_codes=prefix_codes)
    assert codes.shape == (2, 4, prefix_frames + 10)
    assert torch.equal(codes[:, :, :prefix_frames], prefix_codes)
    assert int(codes.max()) < 16


def test_windows_draw_from_seeds_of_their_own() -> None:
    """A model that hears nothing must not repeat itself from window to window."""
    model, given = tiny("a", "delay", scale=0.0), conditions(1, "a")
    codes = generate_long(model, given, 24, Sampling(), [3])
    assert not torch.equal(codes[:, :, 12:18], codes[:, :, 18:24])
    assert not torch.equal(codes[:, :, 6:12], codes[:, :, 12:18])


def test_weights_are_packed_once_for_all_windows_and_a_decoder_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = tiny("b", "delay", scale=3.0), conditions(2, "b")
    packed: list[str] = []
    pack = cpu.pack

    def counted(weight: torch.Tensor, stored: str, amx: bool) -> cpu.Linear:
        packed.append(stored)
        return pack(weight, stored, amx)

    monkeypatch.setattr(cpu, "pack", counted)
    decoder = prepare(model, "float32")
    matrices = len(packed)
    codes = generate_long(model, given, 27, Sampling(), [0, 1])
    assert len(packed) == 2 * matrices
    assert torch.equal(generate_long(model, given, 27, Sampling(), [0, 1], decoder=decoder), codes)
    assert torch.equal(generate(model, given, 12, Sampling(), [0, 1], decoder=decoder), codes[:, :, :12])
    assert len(packed) == 2 * matrices
