"""KL-PaSST and the ratings of audiobox-aesthetics: held against the packages themselves with random weights, and as scores."""

import contextlib
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from musicgen_lite.cli import app
from musicgen_lite.compute import Recipe
from musicgen_lite.errors import UserError
from musicgen_lite.scoring.audio import aesthetics, clip_models, passt
from musicgen_lite.scoring.audio.embedders import Embedders
from musicgen_lite.scoring.audio.scores import score_generated, score_reference
from musicgen_lite.scoring.audio.sets import (
    ClipSet,
    GeneratedSet,
    ReferenceClips,
    as_noise,
    embed_reference,
    load_reference,
    reconstructed,
)
from musicgen_lite.scoring.audio.spread import load as load_embedders
from musicgen_lite.scoring.metrics import AXES
from musicgen_lite.scoring.statistics.intervals import Bootstrap, rounded
from tests.support.standins import RATE, RoundingCodec, ToneClap, sine

tiny = pytest.importorskip(
    "tests.support.clip_models_tiny", reason="the extras passt and aesthetics bring the packages"
)

HZ = {f"t{i}": 200.0 * 2 ** (i / 2) for i in range(8)}
REFERENCE, OTHER = sorted(HZ)[::2], sorted(HZ)[1::2]
CAPTIONS, TRACKS = {i: str(HZ[i]) for i in OTHER}, {i: i for i in HZ}


def music(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """A rising tone in noise: no window is like another."""
    at = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.02, len(at))
    return (0.2 * np.sin(2 * np.pi * (200 + 80 * at) * at) + noise).astype(np.float32)


def read(clip: str) -> tuple[np.ndarray, int]:
    return sine(HZ[clip]) + sine(3 * HZ[clip], level=0.05), RATE


def out_of_tune(clip: str, k: int) -> tuple[np.ndarray, int]:
    return sine(1.3 * HZ[clip], level=0.2) + music(1.0, RATE, int(clip[1:])), RATE


@pytest.mark.slow
def test_logits_are_those_of_the_package_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package fetches its weights by itself; here it is given the file that we read."""
    from hear21passt import base
    from hear21passt.models.helpers import vit_helpers

    tiny.shallow(monkeypatch)
    weights = tmp_path / "weights.pt"
    trusted = [tiny.save_passt(weights)]
    monkeypatch.setattr(vit_helpers, "download_cached_file", lambda *_, **__: str(weights))
    with contextlib.redirect_stdout(io.StringIO()):
        package = base.get_basic_model(mode="logits").eval()
    ours = passt.load(str(weights), trusted=trusted)

    def logits(wave: np.ndarray) -> np.ndarray:
        with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
            return np.asarray(package(torch.from_numpy(wave)[None])[0])

    wave, size = music(13.0, ours.rate), 10 * ours.rate
    loud = at_peak(wave)
    assert np.array_equal(ours.embed(wave[:size] * 0.5, ours.rate)[0], logits(at_peak(wave[:size])))
    # A window begins every 5 s while another one would follow it; of 13 s the second ends in zeros.
    second = np.pad(loud[size // 2 :], (0, size + size // 2 - len(loud)))
    expected = torch.from_numpy(np.stack([logits(loud[:size]), logits(second)])).mean(dim=0).numpy()
    assert np.array_equal(ours.embed(wave, ours.rate)[0], expected)
    short = wave[: size // 4]
    padded = np.pad(at_peak(short), (0, size - len(short)))
    assert np.array_equal(ours.embed(short, ours.rate)[0], logits(padded))
    assert np.isfinite(ours.embed(np.zeros(size, np.float32), ours.rate)).all()


def at_peak(wave: np.ndarray) -> np.ndarray:
    return (10 ** (-1 / 20) / float(np.abs(wave).max()) * wave.astype(np.float64)).astype(np.float32)


def test_the_divergence_is_stable_audio_metrics_and_has_a_direction() -> None:
    first, other = np.random.default_rng(0).normal(0, 3, (2, 4, 527))
    p, q = (torch.softmax(torch.from_numpy(logits), dim=1) for logits in (first, other))
    expected = torch.nn.functional.kl_div((q + 1e-6).log(), p, reduction="none").sum(dim=1).numpy()
    assert passt.divergence(first, other) == pytest.approx(expected)
    assert not np.allclose(expected, passt.divergence(other, first), rtol=0.02)
    assert passt.divergence(first, first) == pytest.approx(0, abs=1e-3)
    certain = np.full((1, 527), -1e4)
    certain[0, 3] = 0.0  # a probability of one, and others that underflow to zero
    assert passt.divergence(certain, np.zeros((1, 527))) == pytest.approx(np.log(527), rel=1e-3)
    assert passt.divergence(np.zeros((1, 527)), certain) == pytest.approx(
        -np.log(527) + 526 / 527 * np.log(1e6), rel=1e-3
    )


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "rate"), [(4.0, 16000), (10.0, 16000), (23.5, 16000), (6.0, 44100)])
def test_ratings_are_those_of_the_package_with_the_same_weights(
    seconds: float, rate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audiobox_aesthetics.infer import AesPredictor

    folder = tiny.save_aesthetics(tmp_path / "model", monkeypatch)
    ours = aesthetics.load(str(folder))
    wave = music(seconds, rate)
    package = AesPredictor(str(folder / "checkpoint.pt"))
    [expected] = package.forward([{"path": torch.from_numpy(wave)[None], "sample_rate": rate}])
    found = ours.embed(wave, rate)
    assert found.shape == (1, 4)
    assert dict(zip(AXES, found[0], strict=True)) == pytest.approx(expected, rel=1e-6)
    assert len({round(value, 2) for value in expected.values()}) == 4
    assert np.abs(ours.embed(music(seconds, rate) * 0.1, rate) - found).max() > 1e-4


@pytest.fixture
def embedders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Embedders:
    model = aesthetics.load(str(tiny.save_aesthetics(tmp_path / "model", monkeypatch)))
    return Embedders(ToneClap(), RoundingCodec(), clip_models=(tiny.small_passt(), model))


@pytest.fixture
def clips() -> ReferenceClips:
    real = ClipSet(OTHER, read)
    coded, noise = reconstructed(real, RoundingCodec()), as_noise(real, 0)
    training = ClipSet(REFERENCE, read)
    return ReferenceClips(CAPTIONS, TRACKS, training, real, coded, noise, real, None, training)


def test_both_are_scores_beside_those_of_the_reference_sets(
    embedders: Embedders, clips: ReferenceClips, tmp_path: Path
) -> None:
    sets = embed_reference(clips, embedders)
    sets.save(tmp_path / "reference")
    stored = load_reference(tmp_path / "reference", embedders, read)
    reference = score_reference(clips, stored, ToneClap(), Bootstrap(100), embedders.clip_models)
    ratings, both = [f"aesthetics_{axis.lower()}" for axis in AXES], ["kl_passt", "kl_passt_reversed"]
    assert {f"{one}_{end}" for one in ratings for end in ("real", "recon", "noise")} <= set(reference.metrics)
    assert {f"{one}_{end}" for one in both for end in ("recon", "noise")} <= set(reference.metrics)
    assert reference.metrics["kl_passt_noise"] > reference.metrics["kl_passt_recon"]
    assert "kl_passt_real" not in reference.metrics

    given = GeneratedSet(CAPTIONS, TRACKS, dict.fromkeys(OTHER, 0), 1, out_of_tune)
    scores = score_generated(given, stored, embedders, Bootstrap(100))
    assert {*ratings, *both} <= set(scores.metrics)
    own = [embedders.clip_models[0].embed(*out_of_tune(clip, 0)) for clip in OTHER]
    real = [embedders.clip_models[0].embed(*read(clip)) for clip in OTHER]
    assert scores.tables["passt"]["kl_passt"].to_numpy() == pytest.approx(
        passt.divergence(np.concatenate(real), np.concatenate(own))
    )
    for name in (*ratings, *both):
        one = scores.estimates[name]
        assert one.low <= one.value <= one.high
        assert one.n == len(OTHER)
    assert scores.notes["passt"]["fingerprint"] == embedders.clip_models[0].fingerprint
    assert scores.metrics["aesthetics_pq"] == rounded(scores.tables["aesthetics"]["aesthetics_pq"].mean())
    assert {name for name in scores.headline if name.startswith(("kl_", "aesthetics"))} == set()
    prompted = score_generated(
        GeneratedSet(CAPTIONS, TRACKS, dict.fromkeys(OTHER, 0), 1, out_of_tune, ClipSet(OTHER, read)),
        stored, embedders, Bootstrap(100),
    )  # fmt: skip
    assert prompted.metrics["kl_passt_prompted"] == scores.metrics["kl_passt"]
    assert prompted.metrics["aesthetics_ce_prompted"] == scores.metrics["aesthetics_ce"]


def test_prompts_without_real_clips_have_ratings_and_no_divergence(embedders: Embedders, clips: ReferenceClips) -> None:
    sets = embed_reference(clips, embedders)
    own = {f"own{clip}": clip for clip in OTHER}
    given = GeneratedSet(
        {name: str(HZ[clip]) for name, clip in own.items()}, TRACKS, dict.fromkeys(own, 0), 1,
        lambda name, k: out_of_tune(own[name], k), external=True,
    )  # fmt: skip
    scores = score_generated(given, sets, embedders, Bootstrap(100))
    assert "aesthetics_ce" in scores.metrics
    assert "kl_passt" not in scores.metrics
    assert scores.notes["kl_passt"] == "withheld: no real clips belong to the prompts"
    some = GeneratedSet(
        {c: CAPTIONS[c] for c in OTHER[:-1]}, TRACKS, dict.fromkeys(OTHER[:-1], 0), 1, out_of_tune, external=True
    )
    assert score_generated(some, sets, embedders, Bootstrap(100)).estimates["kl_passt"].n == len(OTHER) - 1


def test_a_reference_of_other_weights_is_refused(embedders: Embedders, clips: ReferenceClips, tmp_path: Path) -> None:
    embed_reference(clips, embedders).save(tmp_path / "reference")
    other = tiny.small_passt()
    other.fingerprint = "0" * 16
    changed = Embedders(ToneClap(), RoundingCodec(), clip_models=(other, embedders.clip_models[1]))
    with pytest.raises(UserError, match=r"real/passt: made by passt [0-9a-f]{16}, but now it is 0{16}"):
        load_reference(tmp_path / "reference", changed, read)


def test_models_reach_other_processes_by_recipe() -> None:
    made = load_embedders(Recipe(_clap), Recipe(_codec), None, ("ours",), (Recipe(_small),), "cpu")
    assert "passt" in made.by_name
    assert clip_models.recipes("", "", device="cpu", trusted=()) == ()
    assert len(clip_models.recipes("weights.pt", "folder", device="cpu", trusted=())) == 2


def _clap(device: str) -> ToneClap:
    return ToneClap()


def _codec(device: str) -> RoundingCodec:
    return RoundingCodec()


def _small(device: str) -> passt.Passt:
    return tiny.small_passt()


@pytest.mark.slow
def test_a_folder_of_audio_has_ratings_without_a_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.save_aesthetics(tmp_path / "model", monkeypatch)
    for folder, clips in (("made", OTHER), ("real", REFERENCE)):
        (tmp_path / folder).mkdir()
        for clip in clips:
            soundfile.write(tmp_path / folder / f"{clip}.wav", out_of_tune(clip, 0)[0], RATE)
    command = [
        "score",
        str(tmp_path / "made"),
        "--reference",
        str(tmp_path / "real"),
        "--space",
        "mel",
        "--bootstrap",
        "100",
    ]
    out = tmp_path / "scores.json"
    done = CliRunner().invoke(app, [*command, "--out", str(out), "--aesthetics", str(model)])
    assert done.exit_code == 0, done.output
    assert "production quality (PQ), audiobox-aesthetics" in done.output
    found = json.loads(out.read_text())
    own = aesthetics.load(str(model))
    waves = [soundfile.read(tmp_path / "made" / f"{clip}.wav", dtype="float32")[0] for clip in OTHER]
    expected = np.mean([own.embed(wave, RATE)[0] for wave in waves], axis=0)
    assert [found["metrics"][f"aesthetics_{axis.lower()}"] for axis in AXES] == pytest.approx(expected, rel=1e-5)
    refused = CliRunner().invoke(app, [*command, "--out", str(out), "--aesthetics", "/no/model"])
    assert isinstance(refused.exception, SystemExit | UserError)


def test_what_is_missing_or_wrong_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        UserError, match=r"score\.passt: there is no file no\.pt; it needs passt-s-f128-p16-s10-ap\.476"
    ):
        clip_models.check("no.pt", "", ())
    weights = tmp_path / "weights.pt"
    torch.save({"cls_token": torch.zeros(1)}, weights)
    with pytest.raises(
        UserError,
        match=r"weights\.pt: a pickle.*sha256 [0-9a-f]{64}, which trusted_pickles does not hold; take the published passt",
    ):
        clip_models.check(str(weights), "", ())
    digest = tiny.file_sha256(weights)
    clip_models.check(str(weights), "", [digest])
    with pytest.raises(UserError, match=r"weights\.pt: not the weights of passt_s_swa_p16_128_ap476, .*fetch it again"):
        passt.load(str(weights), trusted=[digest])
    with pytest.raises(UserError, match=r"score\.aesthetics: there is no directory /no/model"):
        clip_models.check("", "/no/model", ())
    folder = tiny.save_aesthetics(tmp_path / "model", monkeypatch)
    clip_models.check("", str(folder), ())
    tensors = load_file(folder / "model.safetensors")
    del tensors["layer_weights.PQ"]  # the hub's client would leave random ones in its place
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"score\.aesthetics.*cannot be loaded.*fetch its files again"):
        aesthetics.load(str(folder))
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"score\.aesthetics.*cannot be loaded.*fetch its files again"):
        aesthetics.load(str(folder))


def test_a_missing_package_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("hear21passt.base", "audiobox_aesthetics.infer"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        UserError, match=r'score\.passt needs the package hear21passt .*`pip install "musicgen-lite\[passt\]"`'
    ):
        clip_models.check("weights.pt", "", ())
    with pytest.raises(
        UserError, match=r'score\.aesthetics needs the package audiobox-aesthetics .*musicgen-lite\[aesthetics\]"'
    ):
        clip_models.check("", "facebook/audiobox-aesthetics", ())
