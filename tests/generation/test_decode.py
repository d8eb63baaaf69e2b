import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from musicgen_lite.errors import UserError
from musicgen_lite.generation import Sampling, generate, prepare
from musicgen_lite.generation.cpu import CpuDecoder
from musicgen_lite.generation.sampling import draw, uniforms
from musicgen_lite.models import Conditions, LanguageModel
from tests.support.models_tiny import KINDS, VARIANTS, conditions, tiny

every_kind = pytest.mark.parametrize(("kind", "pattern"), KINDS)
every_variant = pytest.mark.parametrize(("kind", "pattern", "positions"), VARIANTS)


@torch.no_grad()
def without_cache(
    model: LanguageModel,
    given: Conditions,
    frames: int,
    sampling: Sampling,
    seeds: Sequence[int],
    prefix_codes: Tensor | None = None,
) -> Tensor:
    """The same codes the slow way: the whole sequence through the model again for each step."""
    layout = model.pattern.layout(frames, model.config.num_codebooks)
    drawn_numbers = uniforms(seeds, layout.steps, layout.cells)
    slot = torch.arange(model.config.num_codebooks) % layout.cells
    codes = torch.zeros(len(seeds), model.config.num_codebooks, frames, dtype=torch.int64)
    prefix_frames = 0 if prefix_codes is None else prefix_codes.shape[2]
    if prefix_codes is not None:
        codes[:, :, :prefix_frames] = prefix_codes
    drawn = 0
    for s in range(layout.steps):
        cells = [(q, t) for q, t in (layout.step == s).nonzero().tolist() if t >= prefix_frames]
        if not cells and not drawn:
            continue
        logits = model(codes, given)
        if sampling.guidance != 1 or sampling.guidance_audio is not None:
            uncond, text = model(codes, given.without_text().without_prompt()), model(codes, given.without_prompt())
            if sampling.guidance_audio is None:
                logits = uncond + sampling.guidance * (logits - uncond)
            else:
                logits = uncond + sampling.guidance * (text - uncond) + sampling.guidance_audio * (logits - text)
        numbers = drawn_numbers[drawn]
        drawn += 1
        for q, t in cells:
            codes[:, q, t] = draw(logits[:, q, t], numbers[:, slot[q]], sampling)
    return codes


@every_variant
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_the_loop_equals_sampling_without_cache(kind: str, pattern: str, positions: str, guidance: float) -> None:
    model, given, seeds = tiny(kind, pattern, scale=3.0, positions=positions), conditions(3, kind), [5, 0, 7]
    sampling = Sampling(temperature=0.9, top_k=12, top_p=0.95, guidance=guidance)
    codes = generate(model, given, 6, sampling, seeds)
    assert codes.shape == (3, 4, 6)
    assert torch.equal(codes, without_cache(model, given, 6, sampling, seeds))


@every_variant
@pytest.mark.parametrize("prefix_frames", [1, 4])
def test_a_clip_is_continued_as_without_cache(kind: str, pattern: str, positions: str, prefix_frames: int) -> None:
    model, given, seeds = tiny(kind, pattern, scale=3.0, positions=positions), conditions(3, kind), [5, 0, 7]
    prefix_codes = torch.randint(0, 16, (3, 4, prefix_frames), generator=torch.Generator().manual_seed(1))
    sampling = Sampling(top_k=12, guidance=2.0)
    codes = generate(model, given, 9, sampling, seeds, prefix_codes=prefix_codes)
    assert torch.equal(codes[:, :, :prefix_frames], prefix_codes)
    assert torch.equal(codes, without_cache(model, given, 9, sampling, seeds, prefix_codes))
    alone = generate(model, given[1:2], 9, sampling, seeds[1:2], prefix_codes=prefix_codes[1:2])
    assert torch.equal(alone, codes[1:2])


@pytest.mark.parametrize("pattern", ["interleaved", "delay", "parallel"])
@pytest.mark.parametrize("scales", [(3.0, 1.5), (1.0, 2.0), (0.0, 2.0), (2.0, 2.0)])
def test_text_and_prompt_have_scales_of_their_own(pattern: str, scales: tuple[float, float]) -> None:
    model, given, seeds = tiny("b", pattern, scale=3.0), conditions(3, "b"), [5, 0, 7]
    sampling = Sampling(guidance=scales[0], guidance_audio=scales[1])
    codes = generate(model, given, 6, sampling, seeds)
    assert torch.equal(codes, without_cache(model, given, 6, sampling, seeds))


def test_equal_scales_are_one_scale() -> None:
    model, given = tiny("b", "delay", scale=3.0), conditions(3, "b")
    apart = generate(model, given, 6, Sampling(guidance=3.0, guidance_audio=3.0), range(3))
    assert torch.equal(apart, generate(model, given, 6, Sampling(guidance=3.0), range(3)))
    without = conditions(3, "a")
    assert torch.equal(
        generate(model, without, 6, Sampling(guidance=3.0, guidance_audio=7.0), range(3)),
        generate(model, without, 6, Sampling(guidance=3.0), range(3)),
    )


@every_kind
def test_greedy_codes_are_the_likeliest_given_themselves(kind: str, pattern: str) -> None:
    model, given = tiny(kind, pattern, scale=3.0), conditions(2, kind)
    codes = generate(model, given, 12, Sampling(top_k=1), [0, 1])
    with torch.no_grad():
        assert torch.equal(model(codes, given).argmax(dim=-1), codes)


@every_variant
def test_an_item_does_not_depend_on_its_batch(kind: str, pattern: str, positions: str) -> None:
    model, given, seeds = (
        tiny(kind, pattern, scale=3.0, positions=positions),
        conditions(16, kind),
        list(range(100, 116)),
    )
    sampling = Sampling(top_k=12, guidance=3.0)
    together = generate(model, given, 12, sampling, seeds)
    for size in (1, 3):
        apart = [generate(model, given[i : i + size], 12, sampling, seeds[i : i + size]) for i in range(0, 16, size)]
        assert torch.equal(torch.cat(apart), together), size
    assert torch.equal(generate(model, given, 12, sampling, seeds, rows=5), together)
    assert len({tuple(codes.flatten().tolist()) for codes in together}) == 16


@every_kind
def test_guidance_moves_samples_towards_the_condition(kind: str, pattern: str) -> None:
    """Guided codes are likelier given their condition than unguided ones, relative to no condition."""
    model, given, seeds = tiny(kind, pattern, scale=3.0), conditions(24, kind), range(24)

    def gain(guidance: float) -> float:
        codes = generate(model, given, 6, Sampling(guidance=guidance), seeds)
        with torch.no_grad():
            log_p = model(codes, given).log_softmax(-1) - model(
                codes, given.without_text().without_prompt()
            ).log_softmax(-1)
        return float(log_p.gather(-1, codes[..., None]).mean())

    assert gain(3.0) > gain(1.0) > gain(0.0)


def test_training_mode_is_left_as_it_was_and_dropout_is_off() -> None:
    model, given = tiny("a", "delay", dropout=0.5), conditions(4, "a")
    quiet = generate(model, given, 6, Sampling(), range(4))
    assert torch.equal(generate(model.train(), given, 6, Sampling(), range(4)), quiet)
    assert model.training


def test_the_precision_of_training_around_it_changes_nothing() -> None:
    model, given = tiny("b", "delay"), conditions(4, "b")
    plain = generate(model, given, 6, Sampling(), range(4))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(generate(model, given, 6, Sampling(), range(4)), plain)


@every_variant
def test_threads_change_nothing(kind: str, pattern: str, positions: str) -> None:
    model, given = tiny(kind, pattern, scale=3.0, positions=positions), conditions(5, kind)
    alone = generate(model, given, 8, Sampling(guidance=3.0), range(5))
    torch.set_num_threads(3)
    assert torch.equal(generate(model, given, 8, Sampling(guidance=3.0), range(5)), alone)
    assert torch.equal(generate(model, given, 8, Sampling(guidance=3.0), range(5), rows=1), alone)


def test_progress_is_shown_under_its_label(capsys: pytest.CaptureFixture[str]) -> None:
    generate(tiny("a", "delay"), conditions(3, "a"), 6, Sampling(), range(3), rows=2, label="sampling")
    assert "sampling: 18 step" in capsys.readouterr().err
    generate(tiny("a", "delay"), conditions(1, "a"), 6, Sampling(), [0])
    assert capsys.readouterr().err == ""


def test_what_a_model_cannot_do_is_said() -> None:
    model, given = tiny("a", "delay"), conditions(2, "a")
    with pytest.raises(UserError, match=r"13 frames \(0.26 s\).*1 to 12 frames \(up to 0.24 s\)"):
        generate(model, given, 13, Sampling(), [0, 1])
    with pytest.raises(UserError, match="top_k: found 17; at most 16"):
        generate(model, given, 4, Sampling(top_k=17), [0, 1])
    with pytest.raises(UserError, match="weights: found 'int4'; on cpu float32, bfloat16, int8 are allowed"):
        prepare(model, "int4")
    with pytest.raises(ValueError, match="2 rows of conditions, but 1 seeds"):
        generate(model, given, 4, Sampling(), [0])
    with pytest.raises(ValueError, match=r"prefix codes \(2, 4, 4\) are no beginning of \[2, 4, 4\]"):
        generate(model, given, 4, Sampling(), [0, 1], prefix_codes=torch.zeros(2, 4, 4, dtype=torch.int64))


def test_too_little_memory_names_the_smaller_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the step at which a GPU would run out; what was decoded before it is another batch's."""
    model = tiny("a", "delay")
    decoder, steps = CpuDecoder(model, "float32"), itertools.count()

    def full(logits: Tensor, *others: Any) -> Tensor:
        if next(steps) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return logits[0].argmax(dim=-1)

    monkeypatch.setattr(decoder, "draw", full)
    words = r"^rows \(in a run sample.batch_size\): 4 at a time, which do not fit .*; set it to 2 or less, or generate a shor"
    with pytest.raises(UserError, match=words):
        generate(model, conditions(8, "a"), 12, Sampling(), range(8), rows=4, decoder=decoder)
