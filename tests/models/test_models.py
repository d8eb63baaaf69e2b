from dataclasses import replace
from typing import Any

import pytest
import torch

from musicgen_lite.models import Conditions, ModelConfig, build
from musicgen_lite.models.core.loss import cell_nll
from tests.support.models_tiny import CONFIG, KINDS, VARIANTS, conditions, random_codes, tiny

every_kind = pytest.mark.parametrize(("kind", "pattern"), KINDS)
every_variant = pytest.mark.parametrize(("kind", "pattern", "positions"), VARIANTS)


@every_variant
@torch.no_grad()
def test_a_code_changes_only_the_logits_of_later_steps(kind: str, pattern: str, positions: str) -> None:
    model, given = tiny(kind, pattern, positions=positions), conditions(1, kind)
    codes = random_codes(1, 6)
    step = model.pattern.layout(6, 4).step
    before = model(codes, given)
    for q in range(4):
        for t in range(6):
            other = codes.clone()
            other[0, q, t] = (codes[0, q, t] + 5) % 16
            changed = (model(other, given) != before).any(dim=-1)[0]
            assert torch.equal(changed, step > step[q, t]), (q, t)


@every_kind
def test_the_loss_of_every_cell_depends_on_the_head_of_its_codebook_alone(kind: str, pattern: str) -> None:
    """The last cells of each codebook included: none of their losses is constant in the weights of their head."""
    model = tiny(kind, pattern)
    codes = random_codes(2, 5)
    nll = cell_nll(model(codes, conditions(2, kind)), codes)
    for q in range(4):
        for t in range(5):
            (gradient,) = torch.autograd.grad(nll[:, q, t].sum(), model.head, retain_graph=True)
            assert (gradient.abs().sum(dim=(1, 2)) > 0).tolist() == [other == q for other in range(4)]


@every_variant
@torch.no_grad()
def test_a_caption_alone_equals_the_same_caption_in_a_padded_batch(kind: str, pattern: str, positions: str) -> None:
    model, given, codes = tiny(kind, pattern, scale=3.0, positions=positions), conditions(5, kind), random_codes(5, 8)
    together = model(codes, given.pad_text(9))
    for row in range(5):
        length = int(given.text_mask[row].sum())
        one = given[row : row + 1]
        alone = replace(one, text=one.text[:, :length], text_mask=one.text_mask[:, :length])
        torch.testing.assert_close(model(codes[row : row + 1], alone)[0], together[row], atol=5e-5, rtol=0)


@every_variant
@torch.no_grad()
def test_what_is_hidden_has_no_effect_not_even_nan(kind: str, pattern: str, positions: str) -> None:
    model, given, codes = tiny(kind, pattern, positions=positions), conditions(4, kind).pad_text(9), random_codes(4, 4)
    spoiled = replace(given, text=given.text.masked_fill(~given.text_mask[:, :, None], torch.nan))
    assert torch.equal(model(codes, spoiled), model(codes, given))
    silent = given.without_text().without_prompt()
    other = conditions(4, kind, seed=1).pad_text(9).without_text().without_prompt()
    assert torch.equal(model(codes, silent), model(codes, other))


@every_kind
def test_no_condition_at_all_leaves_the_null(kind: str, pattern: str) -> None:
    model, codes = tiny(kind, pattern), random_codes(3, 4)
    given = conditions(3, kind).without_text().without_prompt()
    logits = model(codes, given)
    assert logits.isfinite().all()
    cell_nll(logits, codes).sum().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    if kind != "musicgen":  # whose null is zero, not learned
        null = dict(model.named_parameters())["text.null.weight"].grad
        assert null is not None
        assert null.abs().sum() > 0


@every_kind
@torch.no_grad()
def test_conditions_change_the_logits(kind: str, pattern: str) -> None:
    model, given, codes = tiny(kind, pattern), conditions(3, kind), random_codes(3, 4)
    other = conditions(3, kind, seed=1)
    logits = model(codes, given)

    def differs(changed: Conditions) -> list[bool]:
        return ((model(codes, changed) - logits).abs().amax(dim=(1, 2, 3)) > 1e-3).tolist()

    assert differs(replace(given, text=other.text)) == [True] * 3
    assert differs(replace(given, has_text=torch.tensor([True, False, True]))) == [False, True, False]
    changes_with_prompt = [kind == "b"] * 3
    if kind == "b":
        assert differs(replace(given, prompt=other.prompt)) == changes_with_prompt
    assert differs(given.without_prompt()) == changes_with_prompt


@every_variant
@torch.no_grad()
def test_cached_steps_equal_the_whole_forward_pass(kind: str, pattern: str, positions: str) -> None:
    model, given, codes = tiny(kind, pattern, scale=3.0, positions=positions), conditions(3, kind), random_codes(3, 12)
    state = model.start(given, 12)
    inputs = state.layout.inputs(codes, 16)
    steps = [model.step(inputs[:, s], state) for s in range(state.layout.steps)]
    cached = torch.stack([state.layout.revert(torch.stack(steps, dim=1)[..., k]) for k in range(16)], dim=-1)
    torch.testing.assert_close(cached, model(codes, given), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("kind", "pattern", "positions"), [*VARIANTS, *((*kind, "learned") for kind in KINDS)])
def test_parameter_counts_equal_the_closed_form(kind: str, pattern: str, positions: str) -> None:
    c = ModelConfig(**{**CONFIG, "type": kind, "pattern": pattern, "positions": positions})
    d, n, k = c.d_model, c.num_codebooks, c.codebook_size
    attention, mlp, norm = 4 * d * d, 8 * d * d, 2 * d
    count = n * (k + 1) * d + n * k * d + norm  # code embeddings, heads, final norm
    count += c.text_dim * d  # text projection
    count += d if kind == "musicgen" else d + c.max_text * d  # its bias; else null and text positions
    count += c.layers * (attention + mlp + 2 * norm)
    if pattern == "interleaved":
        count += n * d
    if positions == "learned":
        count += (c.max_frames + (n - 1 if pattern == "delay" else 0)) * d
    if kind != "a":
        count += c.layers * (attention + norm)
    if kind == "b":
        count += d * d + c.max_prompt_frames * d + 2 * d  # prompt projection, prompt positions, types
    assert sum(parameter.numel() for parameter in build(c).parameters()) == count


@every_kind
@torch.no_grad()
def test_learned_positions_cover_the_longest_clip_and_no_more(kind: str, pattern: str) -> None:
    model = tiny(kind, pattern, positions="learned")
    assert model(random_codes(1, 12), conditions(1, kind)).shape == (1, 4, 12, 16)
    with pytest.raises(ValueError, match=r"13 frames are more than the 12"):
        model(random_codes(1, 13), conditions(1, kind))


def test_too_long_a_text_or_prompt_is_refused() -> None:
    given = conditions(1, "b")
    with pytest.raises(ValueError, match="10 tokens"):
        tiny("a", "delay")(random_codes(1, 4), given.pad_text(10))
    assert given.prompt is not None
    with pytest.raises(ValueError, match="14 frames"):
        tiny("b", "delay")(random_codes(1, 4), replace(given, prompt=given.prompt.repeat(1, 1, 2)))


@every_variant
@torch.no_grad()
def test_bfloat16_autocast_stays_near_float32(kind: str, pattern: str, positions: str) -> None:
    model, given, codes = tiny(kind, pattern, scale=1.0, positions=positions), conditions(3, kind), random_codes(3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(codes, given)
    torch.testing.assert_close(rough.float(), model(codes, given), atol=0.03, rtol=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "c"}, "allowed: a, b, musicgen"),
        ({"pattern": "x"}, "allowed: interleaved"),
        ({"positions": "rope"}, "allowed: sinusoidal, rotary, learned"),
        ({"type": "musicgen", "positions": "rotary"}, "MusicGen adds its positions"),
        ({"heads": 3}, "even multiple of heads"),
        ({"layers": 0}, "layers: found 0"),
    ],
)
def test_a_config_that_makes_no_model_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ModelConfig(**{**CONFIG, **change})


def test_config_survives_its_dict() -> None:
    config = ModelConfig(**CONFIG)
    assert ModelConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match=r"missing keys: \['layers'\]; unknown keys: \['layer'\]"):
        ModelConfig.from_dict({**{k: v for k, v in config.to_dict().items() if k != "layers"}, "layer": 2})
