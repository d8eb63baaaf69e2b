"""Audio that comes while it is made is the audio that comes at once."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import musicgen_lite
from musicgen_lite import codec
from musicgen_lite.errors import UserError
from musicgen_lite.generation import Sampling, generate_long, prepare
from musicgen_lite.generator import Generator
from musicgen_lite.streaming import Tap
from tests.support import codec_tiny
from tests.support.models_tiny import KINDS, conditions, random_codes, tiny
from tests.support.plain_decoder import PlainDecoder
from tests.test_generator import save

PROMPT = "A fast techno beat with a synth lead."
# Codes are equal bit by bit; the codec's sums round differently in parts.
TOLERANCE = 1e-6


@pytest.mark.parametrize("prefix_frames", [0, 3, 12, 20])
@pytest.mark.parametrize(("kind", "pattern"), KINDS)
@pytest.mark.parametrize("torch_decoder", [False, True])
def test_each_frame_is_handed_on_once_with_all_its_codes(
    kind: str, pattern: str, prefix_frames: int, torch_decoder: bool
) -> None:
    """Over three windows, each of which is given half of the one before."""
    model, given = tiny(kind, pattern, scale=3.0), conditions(1, kind)
    decoder = PlainDecoder(model) if torch_decoder else prepare(model)
    prefix = random_codes(1, prefix_frames) if prefix_frames else None
    taken: list[torch.Tensor] = []
    tap = Tap(decoder, taken.append)
    codes = generate_long(model, given, prefix_frames + 21, Sampling(guidance=3.0), [5], 64, "", prefix, tap)
    assert torch.equal(torch.stack(taken, dim=1), codes[0, :, prefix_frames:])


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "tone.wav"
    soundfile.write(path, 0.2 * np.sin(np.arange(32000) / 16000 * 2 * np.pi * 330).astype(np.float32), 16000)
    return path


@pytest.fixture(scope="module")
def generators(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Generator]:
    folder = tmp_path_factory.mktemp("models")
    made = {kind: save(folder / f"{kind}.safetensors", kind) for kind in "ab"}
    dac = codec.load(str(codec_tiny.save_dac(folder / "dac", ratios=(8, 8, 8), rate=44100, size=64)), num_codebooks=9)
    sizes = {
        "codebook_size": 64, "num_codebooks": 9, "frame_rate": dac.frame_rate, "rate": dac.rate, "codec": dac.fingerprint,
    }  # fmt: skip
    made["dac"] = save(folder / "of-dac.safetensors", "a", dac.name, **sizes)
    return {kind: musicgen_lite.load(file) for kind, file in made.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("a", {"seconds": 0.2}),
        ("a", {"seconds": 2.99}),
        ("a", {"seconds": 12.0, "candidates": 1}),  # more than the codec decodes in one piece
        ("b", {"seconds": 2.0, "style": True}),
        ("a", {"seconds": 1.01, "continued": True}),
        ("dac", {"seconds": 2.0}),
        ("dac", {"seconds": 1.01, "continued": True}),
    ],
)
def test_the_parts_are_what_generate_gives(
    generators: dict[str, Generator], tone: Path, kind: str, options: dict[str, Any]
) -> None:
    given: dict[str, Any] = {name: tone if value is True else value for name, value in options.items()}
    given = {"candidates": 2, "seed": 7, "sampling": Sampling(guidance=2.0, top_k=50), **given}
    whole = generators[kind].generate(PROMPT, **given)
    stream = generators[kind].stream(PROMPT, **given)
    parts = list(stream)
    assert (stream.rate, stream.samples) == (whole.rate, whole.candidates.shape[1])
    assert np.concatenate(parts).shape == (stream.samples,)
    assert np.abs(np.concatenate(parts) - whole.candidates[0]).max() <= TOLERANCE
    music = stream.result
    assert music is not None
    assert np.array_equal(music.candidates, whole.candidates)
    assert (music.picked, music.new_from_s, music.tempos) == (whole.picked, whole.new_from_s, whole.tempos)
    assert music.scores == pytest.approx(whole.scores, abs=1e-6, nan_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_the_other_candidates_are_made_after_the_first(generators: dict[str, Generator], threads: int) -> None:
    torch.set_num_threads(threads)
    whole = generators["a"].generate(PROMPT, seconds=1.5, candidates=4)
    stream = generators["a"].stream(PROMPT, seconds=1.5, candidates=4)
    assert sum(len(part) for part in stream) == 24000
    assert stream.result is not None
    assert np.array_equal(stream.result.candidates, whole.candidates)


class Counted:
    """A decoder that counts its steps, and can be held until it may go on."""

    def __init__(self, decoder: Any) -> None:
        self.decoder, self.steps, self.start, self.draw = decoder, 0, decoder.start, decoder.draw
        self.stops_at, self.goes_on = 10**9, threading.Event()

    def logits(self, cells: torch.Tensor, state: Any) -> torch.Tensor:
        self.steps += 1
        if self.steps >= self.stops_at:
            assert self.goes_on.wait(60)
        return self.decoder.logits(cells, state)


@pytest.fixture
def counted(generators: dict[str, Generator], monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    found = Counted(generators["a"].decoder)
    monkeypatch.setattr(generators["a"], "decoder", found)
    yield found
    found.goes_on.set()


@pytest.mark.slow
def test_half_a_second_is_heard_before_more_than_its_context_is_made(
    generators: dict[str, Generator], counted: Counted
) -> None:
    """25 frames to hear, 25 of the codec's context, and 3 steps by which the delay pattern is behind."""
    counted.stops_at = 25 + 25 + 3 + 1
    parts = iter(generators["a"].stream(PROMPT, seconds=10.0))
    assert len(next(parts)) == 8000
    assert counted.steps <= counted.stops_at
    counted.goes_on.set()
    assert sum(map(len, parts)) == 160_000 - 8000


@pytest.mark.slow
def test_leaving_the_loop_stops_the_work(generators: dict[str, Generator], counted: Counted) -> None:
    for part in generators["a"].stream(PROMPT, seconds=200.0, candidates=2):
        assert len(part) == 8000
        break
    steps = counted.steps
    assert steps < 10_000
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("stream")]
    assert counted.steps == steps


@pytest.mark.slow
def test_a_stream_that_is_closed_ends_early_without_a_result(
    generators: dict[str, Generator], counted: Counted
) -> None:
    stream = generators["a"].stream(PROMPT, seconds=200.0, candidates=2)
    parts = iter(stream)
    next(parts)
    stream.close()
    assert sum(map(len, parts)) < 190 * 16000
    assert stream.result is None
    assert counted.steps < 10_000


def test_what_is_wrong_is_raised_before_or_by_the_first_part(generators: dict[str, Generator]) -> None:
    with pytest.raises(UserError, match="prompt: it is empty"):
        generators["a"].stream(" ")
    with pytest.raises(UserError, match="top_k: found 513; at most 512"):
        next(iter(generators["a"].stream(PROMPT, sampling=Sampling(top_k=513))))
