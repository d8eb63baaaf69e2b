"""The real pipeline through codecs of other kinds: a DAC with nine codebooks and 86.13 frames a second, and an X-Codec."""

import pytest
import torch

from musicgen_lite import codec, models
from musicgen_lite.io.audio import num_frames
from musicgen_lite.io.samples import SampleStore
from tests.support import codec_tiny
from tests.support.project import TINY, Project

pytestmark = [pytest.mark.pipeline, pytest.mark.long, pytest.mark.timeout(1800)]
RATE, BOOKS, SIZE, FRAME_RATE = 44100, 9, 64, 86.1328125


@pytest.fixture(autouse=True, scope="module")
def named(project: Project) -> None:
    """The tiny project's codec becomes a DAC in a directory of the repository."""
    codec_tiny.save_dac(project.folder / "cache/dac", ratios=(8, 8, 8), rate=RATE, books=BOOKS, size=SIZE)
    project.set(codec__name="cache/dac", codec__num_codebooks=BOOKS)


def test_a_codec_that_cannot_serve_is_named_before_anything_runs(project: Project) -> None:
    project.set(codec__num_codebooks=BOOKS + 1)
    done = project.run("python", "-m", "stages.check", check=False)
    project.set(codec__num_codebooks=BOOKS)
    assert done.returncode == 2, done.stdout
    assert f"codec.num_codebooks: found {BOOKS + 1}; codec" in done.stdout


def test_a_model_learns_plays_and_is_scored_in_its_codes(project: Project) -> None:
    """Up to the report; clips and captions are those of the other codec."""
    done = project.stages_of("dvc", "repro", "report")
    assert {"tokenize", "train", "sample", "score_nll", "reference", "score_audio", "report"} <= set(done)
    assert not {"download", "embed"} & set(done)
    model, _ = models.load(project.folder / "data/model/model.safetensors")
    coder = codec.load(str(project.folder / "cache/dac"), num_codebooks=BOOKS)
    config = model.config
    assert (config.codec, config.num_codebooks, config.codebook_size) == (coder.fingerprint, BOOKS, SIZE)
    assert config.frame_rate == coder.frame_rate == FRAME_RATE
    samples, seconds = SampleStore(project.folder / "data/samples"), TINY["sample.seconds"]
    waves = [samples.wave("text", one.prompt_id, one.candidate) for one in samples.picked("text")]
    assert {(len(wave), rate) for wave, rate in waves} == {(round(seconds * RATE), RATE)}
    codes = coder.encode(torch.from_numpy(waves[0][0])[None])
    assert codes.shape == (1, BOOKS, num_frames(seconds, RATE, FRAME_RATE))
    rows = (project.folder / "metrics/codebooks.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows[1:]] == [f"codebook {number}" for number in range(1, BOOKS + 1)]
    found = project.metrics()
    assert {"nll", "nll_bigram"} <= found["nll"].keys()
    assert {"fad", "fad_codec", "clap"} <= found["audio"].keys()


def test_an_x_codecs_tokens_are_learnt_and_sampled(project: Project) -> None:
    """Up to the samples; the scores read them as they read a DAC's."""
    place = codec_tiny.save_xcodec(project.folder / "cache/xcodec")
    project.set(codec__name="cache/xcodec", codec__num_codebooks=8, sample__top_k=codec_tiny.SIZE)
    done = project.stages_of("dvc", "repro", "sample")
    assert {"tokenize", "train", "sample"} <= set(done) <= {"check", "tokenize", "train", "sample"}
    coder = codec.load(str(place), num_codebooks=8)
    config = models.load(project.folder / "data/model/model.safetensors")[0].config
    assert (config.codec, config.num_codebooks, config.codebook_size) == (coder.fingerprint, 8, codec_tiny.SIZE)
    assert (config.frame_rate, config.rate) == (50.0, codec_tiny.RATE)
    samples, seconds = SampleStore(project.folder / "data/samples"), TINY["sample.seconds"]
    assert {one.kind for one in samples.samples} == {"text", "fixed"}
    for one in samples.samples:
        wave, rate = samples.wave(one.kind, one.prompt_id, one.candidate)
        assert (len(wave), rate) == (round(seconds * codec_tiny.RATE), codec_tiny.RATE)
        assert wave.any()
