from types import SimpleNamespace

import pytest
import torch

from musicgen_lite import patterns

NAMES = ("interleaved", "delay", "parallel")
GRIDS = [(frames, codebooks) for frames in (1, 2, 7) for codebooks in (1, 2, 4)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("frames", "codebooks"), GRIDS)
def test_revert_undoes_build(name: str, frames: int, codebooks: int) -> None:
    layout = patterns.get(name).layout(frames, codebooks)
    codes = torch.randint(0, 50, (3, codebooks, frames))
    sequence = layout.build(codes, special=50)
    assert sequence.shape == (3, layout.steps, layout.cells)
    assert torch.equal(layout.revert(sequence), codes)
    # Every code has exactly one place; what is left holds the special id.
    assert (sequence != 50).sum() == codes.numel()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("frames", "codebooks"), GRIDS)
def test_each_slot_knows_its_cell(name: str, frames: int, codebooks: int) -> None:
    pattern = patterns.get(name)
    layout = pattern.layout(frames, codebooks)
    grid = torch.arange(codebooks)[:, None].expand(codebooks, frames)
    sequence = layout.build(grid[None], special=-1)[0]
    assert torch.equal(layout.codebook[sequence >= 0], sequence[sequence >= 0])
    assert int(layout.position.max()) + 1 == pattern.positions(frames, codebooks)


def test_the_three_patterns_by_hand() -> None:
    codes = torch.tensor([[[11, 12, 13], [21, 22, 23]]])
    built = {name: patterns.get(name).layout(3, 2).build(codes, special=0)[0].tolist() for name in NAMES}
    assert built == {
        "interleaved": [[11], [21], [12], [22], [13], [23]],
        "delay": [[11, 0], [12, 21], [13, 22], [0, 23]],
        "parallel": [[11, 21], [12, 22], [13, 23]],
    }


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_the_step_before(name: str) -> None:
    layout = patterns.get(name).layout(5, 4)
    codes = torch.randint(0, 9, (2, 4, 5))
    sequence, inputs = layout.build(codes, 9), layout.inputs(codes, 9)
    assert (inputs[:, 0] == 9).all()
    assert torch.equal(inputs[:, 1:], sequence[:, :-1])
    assert torch.equal(layout.input_codebook[1:], layout.codebook[:-1])


def test_unknown_names_and_empty_clips_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'dealy'.*interleaved, delay, parallel"):
        patterns.get("dealy")
    with pytest.raises(ValueError, match="at least one frame"):
        patterns.get("delay").layout(0, 4)


def test_a_layout_first_used_in_inference_mode_serves_training() -> None:
    with torch.inference_mode():
        layout = patterns.get("delay").layout(23, 3)
    x = torch.randn(1, layout.steps, 2, requires_grad=True)
    (x.index_select(1, layout.step.flatten()) ** 2).sum().backward()
    assert x.grad is not None


@pytest.mark.slow
@pytest.mark.parametrize("frames", [3, 9, 30])
def test_delay_equals_transformers_delay_pattern(frames: int) -> None:
    """Given all codes of a clip behind a start token, their mask is the whole delayed sequence, and so is ours."""
    from transformers import MusicgenForCausalLM

    peer = SimpleNamespace(num_codebooks=4, config=SimpleNamespace(audio_channels=1))
    codes = torch.randint(0, 64, (5, 4, frames))
    with_start = torch.cat([torch.full((5, 4, 1), 64), codes], dim=2).flatten(0, 1)
    _, theirs = MusicgenForCausalLM.build_delay_pattern_mask(peer, with_start, pad_token_id=64, max_length=frames + 4)
    ours = patterns.get("delay").layout(frames, 4).build(codes, special=64).transpose(1, 2)
    start = torch.full((5, 4, 1), 64)
    assert torch.equal(theirs.view(5, 4, -1), torch.cat([start, ours], dim=2))
