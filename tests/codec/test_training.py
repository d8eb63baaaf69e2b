"""Figures of reconstruction, the start on data or on a narrower codec, and a tiny training from corpus to shipped weights."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from musicgen_lite import codec
from musicgen_lite.io.audio import write
from musicgen_lite.pretrained import shipped
from pretraining import codec as training_command
from pretraining import codec_metrics, codec_state, losses, ship
from pretraining.codec_training import FULL_SCALE, LIBRARY_PAD, Training, build, crops, pad, scale_to_data
from pretraining.manifest import write_manifest
from pretraining.widen import widen
from tests.support import codec_tiny

RATE = 16000
SMALL: dict[str, Any] = {
    "num_filters": 4, "hidden_size": 16, "codebook_size": 16, "num_codebooks": 2, "start": "", "stable_steps": 30, "decay_steps": 10,
    "continuous_steps": 15, "frozen_fraction": 0.5,
    "warmup_steps": 5, "batch_size": 4, "crop_seconds": 0.24, "frozen_crop_seconds": 0.3, "kmeans_frames": 600,
    "kmeans_iterations": 5, "precision": "fp32", "learning_rate": 0.003, "mel_scales": [[512, 128, 40], [128, 32, 16]],
}  # fmt: skip


@pytest.fixture(scope="module")
def params() -> dict[str, Any]:
    defaults = yaml.safe_load((training_command.HERE / "params.yaml").read_text(encoding="utf-8"))
    return {**defaults, "codec": defaults["codec"] | SMALL}


@pytest.fixture(scope="module")
def audio() -> np.ndarray:
    """Chords of three decaying tones each: int16 `[12, 16000]`."""
    random = np.random.default_rng(0)
    time = np.arange(RATE) / RATE
    tones = 110.0 * 2.0 ** (random.integers(24, size=(12, 3, 1)) / 12.0)
    waves = (np.sin(2 * np.pi * tones * time) * np.exp(-2 * time)).sum(1)
    return np.round(0.2 * FULL_SCALE * waves).astype(np.int16)


def test_si_sdr_is_the_ratio_of_signal_and_orthogonal_noise() -> None:
    time = torch.arange(16000) / RATE
    signal, noise = torch.sin(2 * torch.pi * 100 * time), torch.cos(2 * torch.pi * 100 * time)
    output = torch.stack([3.0 * signal + 0.3 * noise, signal + 0.5 * noise + 0.2])
    expected = [20.0, 20.0 * math.log10(2.0)]
    assert losses.si_sdr(output, signal.expand(2, -1)).tolist() == pytest.approx(expected, abs=1e-3)
    assert float(losses.log_distortion((signal + 0.1 * noise)[None], signal[None])) == pytest.approx(-20.0, abs=1e-2)
    assert float(losses.log_distortion(-signal[None], signal[None])) == pytest.approx(20 * math.log10(2), abs=1e-2)


def test_mel_filters_are_triangles_between_equal_steps_of_mel() -> None:
    rows = losses.mel_matrix(RATE, 1024, 64)
    assert torch.allclose(rows.sum(1), torch.ones(64))
    step = 2595.0 * math.log10(1.0 + 8000.0 / 700.0) / 65
    hertz = [700.0 * (10.0 ** (number * step / 2595.0) - 1.0) for number in range(66)]
    low, peak, high = hertz[40], hertz[41], hertz[42]
    heights = [
        max(0.0, min((f - low) / (peak - low), (high - f) / (high - peak))) for f in np.arange(513) * RATE / 1024
    ]
    np.testing.assert_allclose(rows[40].numpy(), np.array(heights) / sum(heights), atol=1e-6)


def test_mel_filters_narrower_than_a_bin_take_the_nearest() -> None:
    rows = losses.mel_matrix(RATE, 128, 64)
    assert torch.allclose(rows.sum(1), torch.ones(64))
    assert rows[0].argmax() == 0


def test_log_mel_of_a_louder_copy_differs_by_the_gain() -> None:
    wave = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    assert losses.metric_mel(2.0 * wave, wave, RATE).item() == pytest.approx(math.log(2.0), abs=1e-4)
    silence = losses.log_mel(torch.zeros(1, 8000), RATE, 1024, 256, 64)
    assert silence.unique().tolist() == pytest.approx([math.log(1e-5)])


def test_crops_depend_on_their_seed_alone_and_come_from_both_corpora(audio: np.ndarray) -> None:
    silence = np.zeros((3, 2000), np.int16)
    wave = crops([audio, silence], 0.4, (0, 7), 5, 1000)
    assert wave.shape == (5, 1000)
    assert wave.abs().sum(1).bool().tolist() == [True, True, True, False, False]
    assert torch.equal(wave, crops([audio, silence], 0.4, (0, 7), 5, 1000))
    assert not torch.equal(wave, crops([audio, silence], 0.4, (0, 8), 5, 1000))
    loud = np.full((1, 1000), 16384, np.int16)
    levels = crops([loud, loud], 0.5, (0, 7), 400, 1000)[:, 0] * FULL_SCALE / 16384
    assert 0.49 < levels[:200].min() < 0.6
    assert 1.7 < levels.max() < 2.01
    assert 2**-5 <= levels[200:].min() < 0.1
    assert 55 < (levels[200:] < 0.5).sum() < 95  # a share of 3/8 is expected


def test_a_widened_codec_computes_the_same(params: dict[str, Any], audio: np.ndarray) -> None:
    narrow, wide = (build(params["codec"] | {"num_filters": filters}, RATE).eval() for filters in (4, 6))
    wave = crops([audio], 0.0, (0, 0), 4, 3200)
    for model in (narrow, wide):
        scale_to_data(model, wave)
    narrow.quantizer.layers[1].codebook.embed.normal_()
    widen(wide, narrow)
    latents = narrow.encoder(wave.unsqueeze(1))
    torch.testing.assert_close(wide.encoder(wave.unsqueeze(1)), latents, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(wide.decoder(latents), narrow.decoder(latents), rtol=1e-4, atol=1e-4)
    assert torch.equal(wide.quantizer.layers[1].codebook.embed, narrow.quantizer.layers[1].codebook.embed)
    # What widens it learns: after a step its further channels are heard.
    torch.optim.SGD(wide.parameters(), lr=0.1).zero_grad()
    wide.decoder(latents.detach()).square().sum().backward()
    weight = wide.decoder.layers[-1].conv.parametrizations.weight.original1
    assert weight[:, 4:].abs().sum() == 0
    assert weight.grad[:, 4:].abs().sum() > 0


def test_padding_is_the_librarys() -> None:
    states = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    for paddings in ((3, 4), (0, 2), (2, 0), (0, 0), (7, 7), (8, 1)):
        assert torch.equal(pad(states, paddings, "reflect"), LIBRARY_PAD(states, paddings, "reflect")), paddings
    assert torch.equal(pad(states, (1, 2), "constant"), torch.nn.functional.pad(states, (1, 2)))


def test_the_start_gives_every_convolution_its_deviation(params: dict[str, Any], audio: np.ndarray) -> None:
    model = build(params["codec"], RATE)
    wave = crops([audio], 0.0, (0, 0), 8, 3200)
    scale_to_data(model, wave)
    spread: dict[str, float] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            module.register_forward_hook(
                lambda _, __, output, name=name: spread.update({name: float(output.detach().var(dim=-1).mean().sqrt())})
            )
    model.decoder(model.encoder(wave.unsqueeze(1)))
    last = spread.pop(f"decoder.layers.{len(model.decoder.layers) - 1}.conv")
    assert last == pytest.approx(0.5 * float(wave.std()), rel=1e-3)
    blocks = [value for name, value in spread.items() if ".block.3." in name]
    assert blocks == pytest.approx([0.5] * 8, rel=1e-3)
    assert [value for name, value in spread.items() if ".block.3." not in name] == pytest.approx([1.0] * 19, rel=1e-3)


def test_the_learning_rate_warms_up_stays_and_decays(params: dict[str, Any], audio: np.ndarray) -> None:
    training = Training(params["codec"] | {"learning_rate": 1.0, "final_lr_ratio": 0.1}, RATE, [audio])
    for step, rate in ((0, 0.2), (4, 1.0), (29, 1.0), (30, 1.0), (35, 0.55), (40, 0.1)):
        training.step = step
        assert training.learning_rate() == pytest.approx(rate), step
    assert training.frozen_from == 35


@pytest.mark.slow
def test_a_tiny_training_learns_and_a_killed_one_goes_on(
    params: dict[str, Any], audio: np.ndarray, tmp_path: Path
) -> None:
    whole = Training(params["codec"], RATE, [audio])
    parts = list(whole.run())
    # So few steps find the spectrum, not yet the waveform.
    assert parts[-1]["mel"] < 0.5 * parts[0]["mel"]
    assert parts[-1]["distortion"] < parts[0]["distortion"]
    assert [part["commitment"] > 0 for part in parts] == [False] * 15 + [True] * 25

    killed = Training(params["codec"], RATE, [audio])
    run = killed.run()
    for _ in range(36):  # past the step that freezes the encoder
        next(run)
    codec_state.save(killed, tmp_path / "codec.pt")
    assert codec_state.step(tmp_path / "codec.pt") == 36
    resumed = Training(params["codec"], RATE, [audio])
    codec_state.load(resumed, tmp_path / "codec.pt")
    assert [part["loss"] for part in resumed.run()] == [part["loss"] for part in parts[36:]]
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, resumed.average.state_dict()[name]), name
    other = Training(params["codec"] | {"batch_size": 5}, RATE, [audio])
    with pytest.raises(ValueError, match=r"codec\.pt: made with other parameters \(batch_size\)"):
        codec_state.load(other, tmp_path / "codec.pt")


@pytest.mark.slow
def test_a_packed_training_goes_on_from_its_average_and_may_end_sooner(
    params: dict[str, Any], audio: np.ndarray, tmp_path: Path
) -> None:
    first = Training(params["codec"], RATE, [audio])
    run = first.run()
    for _ in range(24):
        next(run)
    state = tmp_path / "state.safetensors"
    codec_state.pack(first, state)
    codec_state.save(first, tmp_path / "codec.pt")
    second = Training(params["codec"] | {"stable_steps": 24}, RATE, [audio])
    codec_state.unpack(second, state)
    assert (second.step, second.steps, second.seconds) == (24, 34, first.seconds)
    for name, value in first.average.state_dict().items():
        torch.testing.assert_close(second.model.state_dict()[name], value, rtol=1e-3, atol=1e-6)
    rate = params["codec"]["learning_rate"]
    assert second.learning_rate() == pytest.approx(rate / params["codec"]["warmup_steps"])
    assert len(list(second.run())) == 10
    # A rebuild takes what went further; the exact one where both stand at the same step.
    settings = {"codec": params["codec"], "corpus": {"rate": RATE}}
    assert training_command.begin(settings, [audio], tmp_path / "codec.pt", state).resumed == 0
    assert training_command.begin(settings, [audio], tmp_path / "none.pt", state).resumed == 24
    assert training_command.begin(settings, [audio], tmp_path / "none.pt", tmp_path / "no.safetensors").step == 0


@pytest.mark.slow
def test_a_tiny_rebuild_gives_weights_that_load(params: dict[str, Any], audio: np.ndarray, tmp_path: Path) -> None:
    training = Training(params["codec"], RATE, [audio[:10]])
    for _ in training.run():
        pass
    training_command.finish(
        training,
        params,
        {"composed": audio[10:], "sampled": audio[10:]},
        tmp_path / "models" / "codec",
        tmp_path / "codec.json",
    )
    scores = json.loads((tmp_path / "codec.json").read_text())
    assert scores["codes_used_0"] > 1
    assert 1 < scores["perplexity_0"] <= scores["codes_used_0"]
    assert ship.ship(tmp_path / "models", tmp_path / "weights") == ["codec"]
    place = shipped.path("codec", tmp_path / "weights")
    assert f"sha256 of model.safetensors: {write_manifest(tmp_path / 'weights')['codec']['model.safetensors']}" in (
        (place / "README.md").read_text()
    )
    loaded = codec.load(str(place), num_codebooks=2)
    wave = torch.from_numpy(audio[10:].astype(np.float32) / FULL_SCALE)
    codes = loaded.encode(wave)
    distance = losses.metric_mel(loaded.decode(codes), wave, RATE).mean()
    assert float(distance) == pytest.approx(scores["log_mel_l1"], abs=1e-3)


def test_a_recording_is_cut_to_windows_of_its_first_half_minute(tmp_path: Path) -> None:
    def lengths(seconds: float, rate: int) -> list[int]:
        write(tmp_path / "a.wav", np.full(round(seconds * rate), 0.25, np.float32), rate)
        return [len(part) for part in codec_metrics.windows(tmp_path / "a.wav", RATE)]

    assert lengths(35.0, RATE) == [160000] * 3
    assert lengths(11.5, 8000) == [160000, 24000]
    assert lengths(10.5, RATE) == [160000]
    assert lengths(0.5, RATE) == [8000]


def test_figures_of_a_folder_of_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = codec_tiny.model()
    clips = np.round(3000 * codec_tiny.waves(3, 1000).numpy()).astype(np.int16)
    waves = {str(number): [clip] for number, clip in enumerate(clips)}
    each = [codec_metrics.evaluate(model, parts, codec_tiny.RATE)["si_sdr_db"] for parts in waves.values()]
    codec_metrics.measure(model, {}, waves, codec_tiny.RATE)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[3].split()[:4] == ["recordings,", "median", "of", "3"]
    assert f"SI-SDR {sorted(each)[1]:6.2f} dB" in lines[3]
