"""Everything that a GPU runs, on a fake one: no mix of devices, nothing that waits, and no copies in a step."""

import dataclasses
from typing import Any

import pytest
import torch

from musicgen_lite.generation import Sampling, generate
from musicgen_lite.generation.static import StaticDecoder, StaticState
from musicgen_lite.models import Conditions, ModelConfig, build
from musicgen_lite.training.dataset import Batch
from musicgen_lite.training.module import codebook_nll, tempo_nll, validation_sums
from tests.generation.test_static import FULL, PLAIN
from tests.support.fake_cuda import DEVICE, fake_cuda, to_dtype, without_copies
from tests.support.models_tiny import CONFIG
from tests.support.plain_decoder import PlainDecoder

FRAMES = 3  # an operation takes a millisecond here
# Learned positions are looked up as sinusoidal ones are: one model with them is enough.
SOME = [variant for variant in PLAIN if variant[2]["positions"] == "sinusoidal" or variant[0] == "musicgen"]
every_variant = pytest.mark.parametrize(("kind", "pattern", "changes"), SOME + FULL)


def config(kind: str, pattern: str, changes: dict[str, Any]) -> ModelConfig:
    return ModelConfig(**{**CONFIG, "type": kind, "pattern": pattern, **changes})


def given_to(kind: str, rows: int = 3) -> Conditions:
    """Made on the GPU, as what arrives there."""
    there = torch.ones(rows, dtype=torch.bool)
    return Conditions(
        text=torch.randn(rows, 5, 12), text_mask=torch.ones(rows, 5, dtype=torch.bool),
        prompt=torch.zeros(rows, 4, 7, dtype=torch.int64) if kind == "b" else None,
        has_text=there, has_prompt=there, beat=torch.ones(rows, 2), has_beat=there,
    )  # fmt: skip


def codes(rows: int = 3, frames: int = FRAMES) -> torch.Tensor:
    return torch.zeros(rows, 4, frames, dtype=torch.int64)


@every_variant
def test_forward_and_loss(kind: str, pattern: str, changes: dict[str, Any]) -> None:
    with fake_cuda():
        model = build(config(kind, pattern, changes))
        batch = Batch(codes(), torch.ones(3, FRAMES, dtype=torch.bool), given_to(kind), 36, 36)
        logits = model(batch.codes, batch.conditions)
        loss = codebook_nll(model, batch).sum() + tempo_nll(model, batch)[0]
        assert (logits.shape, logits.device, loss.device) == ((3, 4, FRAMES, 16), DEVICE, DEVICE)
        assert loss.requires_grad  # autograd's engine itself asks for a driver
        with torch.no_grad():
            assert validation_sums(model, batch).device == DEVICE


@every_variant
@pytest.mark.parametrize(("weights", "prefix_frames"), [("float32", 0), ("bfloat16", 1)])
def test_decoding(kind: str, pattern: str, changes: dict[str, Any], weights: str, prefix_frames: int) -> None:
    sampling = Sampling(0.9, top_k=12, top_p=0.9, guidance=3.0, guidance_audio=2.0)
    with fake_cuda():
        model = build(config(kind, pattern, changes))
        to_dtype(model, getattr(torch, weights))
        decoder = StaticDecoder(model, weights, graphs=False)
        prefix = codes(frames=prefix_frames) if prefix_frames else None
        made = generate(model, given_to(kind), FRAMES, sampling, range(3), prefix_codes=prefix, decoder=decoder)
        assert (made.shape, made.device, made.dtype) == ((3, 4, FRAMES), DEVICE, torch.int64)


@every_variant
@torch.no_grad()
def test_nothing_crosses_to_the_gpu_in_a_step(kind: str, pattern: str, changes: dict[str, Any]) -> None:
    with fake_cuda():
        decoder = StaticDecoder(build(config(kind, pattern, changes)), "float32", graphs=False)
        layout = decoder.model.pattern.layout(FRAMES, 4, DEVICE)
        state = decoder.start(given_to(kind), FRAMES, torch.zeros(3, 0, layout.cells, dtype=torch.int64))
        cells, uniforms = torch.zeros(3, layout.cells, dtype=torch.int64), torch.zeros(3, layout.cells)
        assert isinstance(state, StaticState)
        with without_copies():
            for _ in range(layout.steps):
                logits = decoder.logits(cells, state)[None]
                cells = decoder.draw(logits, [1.0], uniforms, Sampling(top_k=3, top_p=0.5))
        assert (cells.shape, cells.device, state.step) == ((3, layout.cells), DEVICE, layout.steps)


def test_the_fake_gpu_finds_what_a_real_one_would_suffer_from() -> None:
    with fake_cuda():
        x = torch.ones(3)
        for wait in (lambda: x.sum().item(), lambda: x.tolist(), lambda: bool(x[0]), lambda: x[x > 0]):
            with pytest.raises(Exception, match="aten"):
                wait()
        with pytest.raises(RuntimeError, match="two different devices"):
            x + torch.ones(3, device="cpu")
        with pytest.raises(AssertionError, match="a copy from cuda to cpu"):
            x.cpu()
        with pytest.raises(AssertionError, match="a copy from cuda to cpu"):
            torch.ones(3, device="cpu").copy_(x)
        torch.ones(3, device="cpu").to(DEVICE)
        with without_copies(), pytest.raises(AssertionError, match="a copy from cpu to cuda"):
            torch.ones(3, device="cpu").to(DEVICE)
    model = build(config("a", "delay", {"positions": "rotary"}))
    given = dataclasses.replace(given_to("a"), beat=None)
    assert generate(model, given, 4, Sampling(), range(3), decoder=PlainDecoder(model)).device.type == "cpu"
