"""Training of the text encoder and of CLAP: a tiny run of each, the probe, and what the shipped encoder knows."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from musicgen_lite import text
from musicgen_lite.clap import load as load_clap
from musicgen_lite.sources import synthetic
from musicgen_lite.text.hub import T5TextEncoder
from pretraining import attributes, clap, clap_features, corpus, probe, schedule, shipping, tokenizer
from pretraining import text as text_training

PARAMS = Path(clap_features.HERE) / "params.yaml"


@pytest.fixture(scope="module")
def params() -> dict[str, Any]:
    return yaml.safe_load(PARAMS.read_text(encoding="utf-8"))


def spans(params: dict[str, Any]) -> list[range]:
    """Seeds that each training uses, scores included."""
    words, sounds = params["text"], params["clap"]
    sizes = [(words["first_seed"], words["compositions"] + words["probe_fit"] + words["probe_test"])]
    sizes += [(model["first_seed"], sounds["clips"] + sounds["held_out"]) for model in sounds["models"].values()]
    codecs = [*corpus.seeds(params["corpus"]), *corpus.seeds(params["sampled"])]
    return codecs + [range(start, start + count) for start, count in sizes]


def test_seeds_are_disjoint_and_not_the_default_runs(params: dict[str, Any]) -> None:
    ordered = sorted(spans(params), key=lambda span: span.start)
    assert ordered[0].start >= 10_000_000
    assert all(one.stop <= other.start for one, other in itertools.pairwise(ordered))


def test_probe_reads_what_is_linear_and_nothing_from_noise() -> None:
    rng = np.random.default_rng(0)
    labels = [str(number % 3) for number in range(300)]
    centres = rng.normal(size=(3, 8))
    vectors = np.stack([centres[int(label)] for label in labels]) + 0.1 * rng.normal(size=(300, 8))
    assert probe.accuracy(vectors[:200], labels[:200], vectors[200:], labels[200:]) == 1.0
    noise = rng.normal(size=(300, 8))
    assert probe.accuracy(noise[:200], labels[:200], noise[200:], labels[200:]) < 0.5


def test_plain_captions_name_things_and_paraphrases_do_not() -> None:
    pieces = [synthetic.compose(95_000_000 + number) for number in range(40)]
    paraphrases = [synthetic.paraphrase(piece, number) for number, piece in enumerate(pieces)]
    assert not any(probe.is_plain(caption) for caption in paraphrases)
    plain = [synthetic.describe(piece, number)[0] for number, piece in enumerate(pieces)]
    assert 0.3 < np.mean([probe.is_plain(caption) for caption in plain]) < 0.8


@pytest.mark.slow
def test_the_shipped_encoder_understands_circumlocutions(params: dict[str, Any]) -> None:
    """20 points over the same encoder untrained; the full sizes are in the model card."""
    encoder = text.load("embedded")
    assert isinstance(encoder, T5TextEncoder)
    pieces = encoder._tokenizer
    untrained = T5TextEncoder(text_training.build(params["text"], len(pieces)).eval(), pieces)
    plain = text_training.compose(96_000_000, 600, 1)
    other = text_training.compose(97_000_000, 150, 1)
    trained_scores, scores = (text_training.probes(one, plain, other) for one in (encoder, untrained))
    assert trained_scores["genre"] >= scores["genre"] + 0.2
    assert trained_scores["tempo_class"] >= scores["tempo_class"] + 0.2


def test_targets_and_loss_of_attributes() -> None:
    pieces = [synthetic.compose(98_000_000 + number) for number in range(8)]
    targets = attributes.targets(pieces)
    assert targets.shape == (8, len(attributes.CHOICES) + len(attributes.PRESENT) + 1)
    # A prediction that is right and sure has next to no loss; the same for another piece has much.
    sure, start = torch.full((8, attributes.WIDTH), -20.0), 0
    for column, names in enumerate(attributes.CHOICES.values()):
        sure[torch.arange(8), start + targets[:, column].long()] = 20.0
        start += len(names)
    sure[:, start:-1] = targets[:, len(attributes.CHOICES) : -1] * 40.0 - 20.0
    sure[:, -1] = targets[:, -1]
    assert float(attributes.loss(sure, targets)) < 1e-6
    assert float(attributes.loss(sure.roll(1, 0), targets)) > 1.0


def test_tokenizer_spells_everything_and_frames_it() -> None:
    captions = [synthetic.describe(synthetic.compose(seed), seed)[0] for seed in range(99_000_000, 99_000_200)]
    for begin in (False, True):
        pieces = tokenizer.train(captions, 600, begin)
        assert len(pieces) == 600
        assert pieces.convert_tokens_to_ids(list(tokenizer.SPECIAL)) == [0, 1, 2, 3]
        odd = "techno 音楽 🎵 ünï 128 bpm"
        ids = pieces(odd).input_ids
        assert ids[-1] == 1
        assert (ids[0] == 3) == begin
        assert 2 not in ids
        assert pieces.decode(ids, skip_special_tokens=True).strip() == odd
        assert pieces("FAST  Techno").input_ids == pieces("fast techno").input_ids


def test_learning_rate_warms_up_and_falls() -> None:
    params = {"learning_rate": 1.0, "warmup_steps": 10, "steps": 100}
    rates = [schedule.learning_rate(step, params) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert int(np.argmax(rates)) == 9
    assert rates[100] == pytest.approx(0.02)


def test_matching_loss_against_a_closed_form() -> None:
    eye, scale = torch.eye(4), torch.tensor(3.0)
    expected = float(torch.log(torch.exp(scale) + 3) - scale)
    assert float(clap.matching_loss(eye, eye, scale)) == pytest.approx(expected, rel=1e-5)
    assert float(clap.matching_loss(eye, eye.roll(1, 0), scale)) > expected


def test_retrieval_against_a_hand_count() -> None:
    similarity = np.array([[0.9, 0.1, 0.2], [0.95, 0.5, 0.3], [0.1, 0.2, 0.25]])
    scores = clap.retrieval(similarity)
    # Clips: the first is beaten by the second caption, the third by the second. Captions: the second by the first clip.
    assert scores["audio_to_text_r1"] == pytest.approx(1 / 3)
    assert scores["text_to_audio_r1"] == pytest.approx(2 / 3)
    assert scores["matched"] == pytest.approx(0.55)
    assert scores["mismatched"] == pytest.approx((0.1 + 0.2 + 0.95 + 0.3 + 0.1 + 0.2) / 6)


@pytest.mark.slow
def test_a_tiny_text_training(params: dict[str, Any], tmp_path: Path) -> None:
    tiny = {**params["text"], "d_model": 32, "heads": 2, "d_ff": 64, "layers": 1, "steps": 200, "batch_size": 16}
    words = text_training.compose(tiny["first_seed"], 200, 2)
    pieces = tokenizer.train(words.texts, 600, begin=False)
    model, curve = text_training.train(tiny, words, pieces)
    assert curve[-1]["loss"] < curve[0]["loss"] - 0.1
    shipping.export(tmp_path / "text", model, pieces)
    loaded = text.load(str(tmp_path / "text"))
    caption = words.texts[0]
    shipped = T5TextEncoder(model.half().float(), pieces)  # the file holds half precision
    np.testing.assert_allclose(loaded.encode([caption], 64)[0], shipped.encode([caption], 64)[0], atol=1e-4)


class Half:
    """A codec that only halves the level."""

    fingerprint = "half"

    def encode(self, wave: torch.Tensor) -> torch.Tensor:
        return wave

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(codes / 2, (0, 100))


@pytest.mark.slow
def test_a_tiny_clap_training(tmp_path: Path) -> None:
    params = clap_features.read_params(PARAMS, "clap_judge")
    assert params["seed"] != clap_features.read_params(PARAMS, "clap")["seed"]
    params |= {"clips": 24, "held_out": 8, "captions": 2, "pieces": 500}
    params |= {"steps": 12, "batch_size": 8, "channels": 8, "heads": [1, 2, 4, 8]}
    corpus.render(params, tmp_path / "tiny")
    audio, _ = corpus.load(tmp_path / "tiny")
    clap_features.write_mels(audio, Half(), params, tmp_path / "tiny-mels" / "mels.npy")  # type: ignore[arg-type]
    clips = clap.read(tmp_path, "tiny", params)
    # The codec's copy is 6 dB down; the sampler's windows are cut out of the cache as the extractor cuts audio.
    np.testing.assert_allclose(clips.mels[0].mean() - clips.mels[1].mean(), 6.02, atol=0.1)
    direct = clap_features.extractor(params)([clap_features.waves(audio[0][16000:96000])], sampling_rate=16000)
    np.testing.assert_allclose(direct["input_features"][0][0][4:-4], clips.mels[0, 0][54:297], atol=0.1)
    pieces = tokenizer.train([caption for captions in clips.captions for caption in captions], 500, begin=True)
    model = clap.train(params, clips, pieces)
    scorer = clap.TransformersClap(model, clap_features.extractor(params), pieces)
    scores = clap.evaluate(scorer, tmp_path, "tiny", params, Half())  # type: ignore[arg-type]
    assert scores["pairs"] == 8
    assert -1 <= scores["codec_mismatched"] <= 1
    shipping.export(tmp_path / "out", model, clap_features.extractor(params), pieces)
    again = load_clap(str(tmp_path / "out"))
    np.testing.assert_allclose(again.embed_text(["slow techno"]), scorer.embed_text(["slow techno"]), atol=2e-2)
    assert again.window_s == 5.0
