"""The beat condition beside slow loops, in one pass and step by step, and the tempo head on a toy."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from musicgen_lite.generation import Sampling, generate, generate_long
from musicgen_lite.generation.cpu import CpuDecoder
from musicgen_lite.models import Conditions, LanguageModel, ModelConfig
from musicgen_lite.models.core.beat import TEMPI, BeatCondition, features
from tests.support.models_tiny import (
    CONFIG,
    TRAINED,
    VARIANTS,
    cells_in_steps_and_in_one_pass,
    conditions,
    random_codes,
    tiny,
    with_beats,
)

every_kind = pytest.mark.parametrize(("kind", "pattern"), TRAINED)
every_variant = pytest.mark.parametrize(
    ("kind", "pattern", "positions"), [variant for variant in VARIANTS if variant[0] != "musicgen"]
)
FRAMES = 12


def told(kind: str, pattern: str, **changes: Any) -> LanguageModel:
    return tiny(kind, pattern, **{"scale": 3.0, "beat": True, **changes})


def by_loops(beat: tuple[float, float], time: float) -> list[float]:
    """The features of one step, as their docstring says."""
    place = (time - beat[1]) * beat[0] / 60
    turns = [2 * math.pi * harmonic * place for harmonic in (4, 2, 1, 1 / 2, 1 / 4, 1 / 8)]
    return [*map(math.sin, turns), *map(math.cos, turns), math.log2(beat[0] / 120), 1.0]


def test_each_step_is_told_its_place_in_the_bar_and_the_tempo() -> None:
    beats, times = [(120.0, 0.0), (73.5, -1.7), (181.0, 42.25)], [0.0, 0.02, 0.5, 7.77, 1234.56]
    given = torch.tensor(beats)
    found = features(given, torch.tensor([True, True, False]), torch.tensor(times, dtype=torch.float64))
    expected = [[by_loops((bpm, first), time) for bpm, first in given.tolist()] for time in times]
    assert found.shape == (5, 3, 14)
    torch.testing.assert_close(found[:, :2], torch.tensor(expected)[:, :2], atol=1e-6, rtol=0)
    assert not found[:, 2].any()


def test_any_bar_may_be_named_but_for_the_pair_that_it_is_in() -> None:
    """Two bars of four beats are the longest period: two bars later is the same, one bar later all but its feature is."""
    times, everyone = torch.arange(40) / 50, torch.ones(3, dtype=torch.bool)
    bar = 4 * 60 / 90
    found = features(torch.tensor([[90.0, 0.3], [90.0, 0.3 + bar], [90.0, 0.3 - 2 * bar]]), everyone, times)
    torch.testing.assert_close(found[:, 2], found[:, 0], atol=1e-5, rtol=0)
    same = [i for i in range(14) if i not in (5, 11)]
    torch.testing.assert_close(found[:, 1, same], found[:, 0, same], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[:, 1, [5, 11]], -found[:, 0, [5, 11]], atol=1e-5, rtol=0)


@every_kind
@torch.no_grad()
def test_a_step_stands_at_the_frame_of_its_first_codebook(kind: str, pattern: str) -> None:
    """Its vector is the projection of the features there; steps past the last frame go on."""
    model, given = told(kind, pattern), with_beats(conditions(3, kind))
    assert model.beat is not None
    assert given.beat is not None
    added = model.start(given, FRAMES).step_embeddings - model.start(given.without_beat(), FRAMES).step_embeddings
    layout = model.pattern.layout(FRAMES, 4)
    for step in range(layout.steps):
        time = (step // 4 if pattern == "interleaved" else step) / CONFIG["frame_rate"]
        rows = [by_loops((bpm, first), time) for bpm, first in given.beat.tolist()]
        expected = torch.tensor(rows) @ model.beat.projection.weight.T * given.has_beat[:, None]
        torch.testing.assert_close(added[step], expected, atol=1e-4, rtol=0)


@every_kind
@torch.no_grad()
def test_without_a_beat_nothing_is_added(kind: str, pattern: str) -> None:
    """No beats at all, beats that are hidden, and a model that is told none: the same bits."""
    model, codes, given = told(kind, pattern), random_codes(3, FRAMES), conditions(3, kind)
    plain = tiny(kind, pattern)
    plain.load_state_dict({n: v for n, v in model.state_dict().items() if not n.startswith("beat.")})
    expected = plain(codes, given)
    some = with_beats(given)
    assert some.beat is not None
    spoiled = replace(some, beat=some.beat * torch.nan).without_beat()
    for hidden in (given, some.without_beat(), spoiled):
        assert torch.equal(model(codes, hidden), expected)
    assert torch.equal(plain(codes, some), expected)
    heard = (model(codes, some) - expected).abs().amax(dim=(1, 2, 3))
    assert (heard > 1e-2).tolist() == [True, False, True]


@every_kind
@torch.no_grad()
def test_both_numbers_of_a_beat_change_the_logits(kind: str, pattern: str) -> None:
    model, codes, given = told(kind, pattern), random_codes(3, FRAMES), with_beats(conditions(3, kind))
    assert given.beat is not None
    before = model(codes, given)
    for change in ([5.0, 0.0], [0.0, 0.1]):
        other = replace(given, beat=given.beat + torch.tensor(change))
        assert ((model(codes, other) - before).abs().amax(dim=(1, 2, 3)) > 1e-2).tolist() == [True, False, True]


@every_variant
@torch.no_grad()
def test_a_row_alone_equals_the_row_in_a_padded_batch(kind: str, pattern: str, positions: str) -> None:
    model, given, codes = (
        told(kind, pattern, positions=positions), with_beats(conditions(5, kind)), random_codes(5, 8),
    )  # fmt: skip
    together = model(codes, given.pad_text(9))
    for row in range(5):
        alone = model(codes[row : row + 1], given[row : row + 1])
        torch.testing.assert_close(alone[0], together[row], atol=5e-5, rtol=0)
    longer = torch.cat([codes, torch.full((5, 4, 3), CONFIG["codebook_size"])], dim=2)
    if pattern != "delay":  # where the last codes of one codebook come after the padding of another
        torch.testing.assert_close(model(longer, given)[:, :, :8], together, atol=5e-5, rtol=0)


@every_variant
@pytest.mark.parametrize("pointer_dim", [0, 8])
@pytest.mark.parametrize("begun", [0, 3])
@torch.no_grad()
def test_steps_give_what_one_pass_gives_in_torch_and_in_the_kernels(
    kind: str, pattern: str, positions: str, pointer_dim: int, begun: int
) -> None:
    model = told(kind, pattern, positions=positions, pointer_dim=pointer_dim)
    codes, given = random_codes(3, FRAMES), with_beats(conditions(3, kind))
    for slow, fast, expected in cells_in_steps_and_in_one_pass(model, given, codes, begun):
        torch.testing.assert_close(slow, expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(fast, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["a", "b"])
@torch.no_grad()
def test_logits_of_an_item_are_the_same_bits_in_any_batch(kind: str) -> None:
    sizes = {"codebook_size": 512, "text_dim": 128, "d_model": 192, "layers": 4, "heads": 4, "max_text": 64}
    model = told(kind, "delay", scale=1.0, max_frames=250, **sizes)
    decoder = CpuDecoder(model, "float32")
    texts = [torch.randn(5 + i, 128, generator=torch.Generator().manual_seed(i)) for i in range(16)]
    given = with_beats(Conditions.from_texts(texts).pad_text(64))
    cells = torch.randint(0, 512, (20, 16, 4), generator=torch.Generator().manual_seed(0))
    full = model.start(given, 250)
    parts = {
        size: [model.start(given[i : i + max(size, 4)], 250).first(size) for i in range(0, 13, size)]
        for size in (1, 3, 4)
    }
    for size, states in parts.items():
        for i, state in enumerate(states):
            rows = slice(i * size, (i + 1) * size)
            assert torch.equal(state.step_embeddings, full.step_embeddings[:, rows]), (size, i)
    for step in range(20):
        whole = decoder.logits(cells[step], full)
        for size, states in parts.items():
            for i, state in enumerate(states):
                rows = slice(i * size, (i + 1) * size)
                assert torch.equal(decoder.logits(cells[step, rows], state), whole[rows]), (size, i, step)


@every_kind
def test_guidance_keeps_the_beat_where_it_drops_the_caption(kind: str, pattern: str) -> None:
    """Greedy codes are those of logits mixed by hand, whose unconditional part is told the beat too."""
    model, given = told(kind, pattern), with_beats(conditions(3, kind))
    codes = generate(model, given, 6, Sampling(top_k=1, guidance=3.0), range(3))
    with torch.no_grad():
        bare = model(codes, given.without_text().without_prompt())
        assert torch.equal((bare + 3 * (model(codes, given) - bare)).argmax(-1), codes)
    assert not torch.equal(generate(model, given.without_beat(), 6, Sampling(top_k=1, guidance=3.0), range(3)), codes)


@every_kind
def test_an_items_codes_depend_on_no_other_item(kind: str, pattern: str) -> None:
    model, given, sampling = told(kind, pattern), with_beats(conditions(5, kind)), Sampling(guidance=2.0)
    together = generate(model, given, FRAMES, sampling, range(5))
    for row in range(5):
        assert torch.equal(generate(model, given[row : row + 1], FRAMES, sampling, [row])[0], together[row])
    mixed = Conditions.cat([conditions(5, kind)[1:2], given[3:]])  # a row without any beat among those with one
    assert torch.equal(generate(model, mixed, FRAMES, sampling, [1, 3, 4]), together[[1, 3, 4]])


@every_kind
def test_the_beat_goes_on_through_the_windows_of_a_long_clip(kind: str, pattern: str) -> None:
    model, given = told(kind, pattern), with_beats(conditions(2, kind))
    codes = generate_long(model, given, 27, Sampling(top_k=1), [0, 1])
    assert given.beat is not None
    for start in (0, 6, 12):
        window = codes[:, :, start : start + FRAMES]
        moved = replace(given, beat=given.beat - torch.tensor([0.0, start / CONFIG["frame_rate"]]))
        with torch.no_grad():
            likeliest = model(window, moved).argmax(dim=-1)
        kept = 6 if start else 0
        assert torch.equal(likeliest[:, :, kept:], window[:, :, kept:])


def test_what_begins_later_stands_at_the_same_places() -> None:
    given = with_beats(conditions(3, "a"))
    later = given.later(0.5)
    assert given.beat is not None
    assert later.beat is not None
    now, then = (torch.arange(20) / 50 + start for start in (0.5, 0.0))
    everyone = torch.ones(3, dtype=torch.bool)
    torch.testing.assert_close(
        features(later.beat, everyone, then), features(given.beat, everyone, now), atol=1e-4, rtol=0
    )
    assert conditions(3, "a").later(0.5).beat is None


def test_a_file_from_before_the_beat_is_told_none() -> None:
    old = ModelConfig(**CONFIG).to_dict()
    del old["beat"]
    assert ModelConfig.from_dict(old).beat is False
    with pytest.raises(ValueError, match="MusicGen is told no beat"):
        ModelConfig(**{**CONFIG, "type": "musicgen", "pattern": "delay", "beat": True})


def test_a_model_without_a_beat_knows_no_tempi() -> None:
    with pytest.raises(ValueError, match="has no beat condition"):
        tiny("a", "delay").tempos(conditions(1, "a"))


def captions_of(bpm: torch.Tensor, generator: torch.Generator) -> Conditions:
    """Captions of 2 to 5 tokens, one of which says the tempo by the angle of its vector, and the beats."""
    turn = (bpm / 50).log2() / 2 * math.pi
    said = torch.stack([turn.cos(), turn.sin(), (2 * turn).cos(), (2 * turn).sin()], dim=1)
    said = said @ torch.randn(4, 64, generator=torch.Generator().manual_seed(7))
    texts = [torch.cat([one[None], torch.randn(1 + i % 4, 64, generator=generator)]) for i, one in enumerate(said)]
    return Conditions.from_texts(texts, beats=torch.stack([bpm, torch.zeros_like(bpm)], dim=1))


def test_the_head_learns_which_tempo_a_caption_speaks_of() -> None:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    head, choices = BeatCondition(64, 4), torch.tensor([60.0, 90.0, 125.0, 180.0])
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.03)
    for _ in range(300):
        given = captions_of(choices[torch.randint(4, (64,), generator=generator)], generator)
        loss = head.tempo_nll(given).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    truth = choices[torch.randint(4, (200,), generator=generator)]
    found = TEMPI[head.tempo_logits(captions_of(truth, generator)).argmax(-1)]
    assert ((found / truth - 1).abs() < 0.03).float().mean() > 0.9
    assert head.projection.weight.grad is None


def test_tempi_are_probabilities_that_padding_and_hidden_captions_do_not_change() -> None:
    model, given = told("b", "delay"), conditions(4, "b")
    probabilities, bpm = model.tempos(given)
    assert probabilities.shape == (4, len(bpm))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(4))
    torch.testing.assert_close(model.tempos(given.pad_text(9))[0], probabilities)
    assert (probabilities[0] - probabilities[1]).abs().max() > 1e-3
    silent = model.tempos(given.without_text())[0]
    assert torch.equal(silent, model.tempos(conditions(4, "b", seed=1).without_text())[0])
    assert (float(bpm[0]), float(bpm[-1])) == (pytest.approx(50), pytest.approx(200))
    ratios = [float(high / low) for low, high in pairwise(bpm)]
    assert ratios == pytest.approx([2 ** (1 / 16)] * 32)


def test_the_loss_of_the_head_is_of_rows_with_a_beat_and_of_the_nearest_tempo() -> None:
    model, given = told("a", "delay"), with_beats(conditions(4, "a"))
    assert model.beat is not None
    assert given.beat is not None
    nll, beats = model.beat.tempo_nll(given), given.beat.tolist()
    with torch.no_grad():
        probabilities, bpm = model.tempos(given)
    for row in range(4):
        nearest = min(range(len(bpm)), key=lambda i: abs(math.log(float(bpm[i]) / beats[row][0])))
        expected = 0.0 if row == 1 else -math.log(float(probabilities[row, nearest]))
        assert float(nll[row].detach()) == pytest.approx(expected, rel=1e-4)
    assert not model.beat.tempo_nll(conditions(4, "a")).any()
    nll.sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {
        "beat.tempo.weight",
        "beat.tempo.bias",
    }
