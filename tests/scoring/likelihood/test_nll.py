import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from musicgen_lite.errors import UserError
from musicgen_lite.io.arrays import ArrayStore, ArrayWriter
from musicgen_lite.io.beats import NO_BEAT, Beat
from musicgen_lite.io.files import atomic_dir
from musicgen_lite.models import Conditions
from musicgen_lite.models.core.loss import cell_nll
from musicgen_lite.scoring.likelihood import baselines, nll
from musicgen_lite.scoring.likelihood.nll import PROMPT_VARIANTS, TEXT_VARIANTS, Example
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from tests.support.models_tiny import KINDS, tiny
from tests.support.standins import ring

every_kind = pytest.mark.parametrize(("kind", "pattern"), KINDS)


def examples(n: int, kind: str, frames: int = 10) -> list[Example]:
    """Clips and captions of different lengths."""
    rng = np.random.default_rng(n)
    return [
        Example(
            f"c{i}",
            f"caption {i}",
            f"track {i}",
            rng.integers(0, 16, (4, frames - i % 3)).astype(np.uint16),
            rng.normal(size=(3 + i % 4, 12)).astype(np.float16),
            rng.integers(0, 16, (4, 7)).astype(np.uint16) if kind == "b" else None,
        )
        for i in range(n)
    ]


class Uneven(torch.nn.Module):
    """Gives code 0 the logit ln 3 and all others 0, whatever its conditions: P(0) = 3 / (K + 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.config = SimpleNamespace(max_frames=3, codebook_size=4)

    def forward(self, codes: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        logits = torch.zeros(*codes.shape, 4)
        logits[..., 0] = math.log(3) * self.scale
        return logits

    def nll(self, codes: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        return cell_nll(self(codes, conditions), codes)


def test_three_frames_by_hand() -> None:
    codes = np.array([[0, 1, 0], [2, 2, 0]])
    text = np.zeros((1, 2), np.float32)
    clips = [Example("a", "1", "1", codes, text), Example("b", "2", "2", codes[:, :1], text)]
    result = nll.evaluate(Uneven(), clips, TEXT_VARIANTS[:1], 2, 0)  # type: ignore[arg-type]
    zero, other = math.log(2), math.log(6)
    assert result.sums["caption"] == pytest.approx(
        np.array([[2 * zero + other, zero + 2 * other], [zero, other]]), rel=1e-6
    )
    assert result.frames.tolist() == [3, 1]
    scores = nll.summarise(result, frame_rate=50.0, bootstrap=Bootstrap(50))
    expected = (4 * zero + 4 * other) / 8
    assert scores.metrics["nll"] == pytest.approx(expected, rel=1e-5)
    assert scores.headline == {"nll": pytest.approx(expected, rel=1e-3)}
    assert scores.metrics["nll_q1"] == pytest.approx((3 * zero + other) / 4, rel=1e-5)
    assert scores.metrics["ppl"] == pytest.approx(math.exp(expected), rel=1e-5)
    assert scores.metrics["bps"] == pytest.approx(expected / math.log(2) * 2 * 50, rel=1e-5)


@every_kind
def test_batch_size_and_order_change_nothing(kind: str, pattern: str) -> None:
    model, clips = tiny(kind, pattern), examples(5, kind)
    variants = TEXT_VARIANTS + (PROMPT_VARIANTS if kind == "b" else ())
    one = nll.evaluate(model, clips, variants, 1, seed=4)
    order = [3, 1, 4, 0, 2]
    many = nll.evaluate(model, [clips[i] for i in order], variants, 3, seed=4)
    assert many.ids == tuple(clips[i].id for i in order)
    for variant in variants:
        assert many.sums[variant.name] == pytest.approx(one.sums[variant.name][order], rel=1e-6, abs=1e-5)


@pytest.mark.parametrize("kind", ["a", "b"])
def test_all_patterns_score_the_same_cells(kind: str) -> None:
    clips = examples(3, kind)
    cells = {nll.evaluate(tiny(kind, p), clips, TEXT_VARIANTS[:1], 2, 0).cells.tobytes() for k, p in KINDS if k == kind}
    assert cells == {np.array([40, 36, 32]).tobytes()}


@every_kind
@pytest.mark.parametrize("longest", [3, 4, 9])
def test_a_clip_longer_than_the_model_is_scored_in_windows_that_hold_every_cell_once(
    kind: str, pattern: str, longest: int
) -> None:
    model, clips = tiny(kind, pattern, max_frames=longest), examples(4, kind)
    variants = TEXT_VARIANTS[:1] + (PROMPT_VARIANTS[:1] if kind == "b" else ())
    whole = nll.evaluate(model, clips, variants, 3, seed=0)
    assert whole.frames.tolist() == [10, 9, 8, 10]
    assert whole.cells.tolist() == [40, 36, 32, 40]
    for row, clip in enumerate(clips):
        frames = clip.codes.shape[1]
        count = -(-frames // longest)
        edges = [frames * n // count for n in range(count + 1)]
        cut = [replace(clip, id=f"{start}", codes=clip.codes[:, start:stop]) for start, stop in pairwise(edges)]
        assert max(part.codes.shape[1] for part in cut) - min(part.codes.shape[1] for part in cut) <= 1
        alone = nll.evaluate(model, [*cut, clips[row - 1]], variants, 8, seed=0)
        for name, sums in whole.sums.items():
            assert sums[row] == pytest.approx(alone.sums[name][: len(cut)].sum(axis=0), rel=1e-5)
    scores = nll.score(model, clips, None, frame_rate=50.0, bootstrap=Bootstrap(50))
    assert scores.notes["nll"]["cells"] == 148
    assert f"windows of at most {longest}" in scores.notes["nll"]["windows"]


@pytest.mark.parametrize("kind", ["a", "b"])
def test_anothers_caption_is_another_text_and_anothers_prompt_of_another_track(kind: str) -> None:
    model, clips = tiny(kind, "delay"), examples(6, kind)
    alike = [
        replace(clip, caption="one", track="one", text=clips[0].text, prompt=clips[0].prompt) for clip in clips[:4]
    ]
    scores = nll.score(model, alike + clips[4:], None, frame_rate=50.0, bootstrap=Bootstrap(50))
    table = scores.tables["nll"]
    assert (table["shuffled"] != table["caption"]).all()
    if kind == "b":
        assert (table["caption+shuffled_prompt"] != table["caption+prompt"]).all()
    alone = nll.score(model, alike, None, frame_rate=50.0, bootstrap=Bootstrap(50))
    reason = "withheld: all 4 clips share one {}, so that it cannot be shuffled"
    assert not {"nll_shuffled", "nll_caption_gain", "nll_prompt_gain"} & set(alone.estimates)
    assert alone.notes["nll_caption_gain"] == reason.format("caption")
    assert alone.notes.get("nll_prompt_gain") == (reason.format("track") if kind == "b" else None)


@pytest.mark.parametrize("kind", ["a", "b"])
def test_each_variant_is_what_its_name_says(kind: str) -> None:
    model, clips = tiny(kind, "delay"), examples(4, kind)
    variants = TEXT_VARIANTS + (PROMPT_VARIANTS if kind == "b" else ())
    result = nll.evaluate(model, clips, variants, 4, seed=2)
    partner = ring(4, 2)

    def alone(i: int, text: int | None, prompt: int | None) -> np.ndarray:
        codes = torch.from_numpy(clips[i].codes.astype(np.int64))[None]
        given = None if prompt is None else torch.from_numpy(np.stack([clips[prompt].prompt]).astype(np.int64))  # type: ignore[list-item]
        conditions = Conditions.from_texts([torch.from_numpy(clips[i if text is None else text].text)], given)
        logits = model(codes, conditions.without_text() if text is None else conditions)
        return -torch.log_softmax(logits, -1).gather(-1, codes[..., None])[0, ..., 0].sum(1).detach().numpy()

    for i in range(4):
        other = int(partner[i])
        wanted: dict[str, tuple[int | None, int | None]] = {
            "caption": (i, None),
            "shuffled": (other, None),
            "none": (None, None),
        }
        if kind == "b":
            wanted |= {"caption+prompt": (i, i), "caption+shuffled_prompt": (i, other)}
            wanted |= {"prompt": (None, i), "shuffled_prompt": (None, other)}
        assert set(wanted) == set(result.sums)
        for name, (text, prompt) in wanted.items():
            assert result.sums[name][i] == pytest.approx(alone(i, text, prompt), rel=1e-5), name
    assert len({tuple(values.sum(axis=1).round(4)) for values in result.sums.values()}) == len(result.sums)


def test_scores_hold_baselines_gains_and_intervals() -> None:
    clips = examples(6, "b")
    grids = [clip.codes for clip in clips]
    counts = baselines.fit(grids, grids, 4, 16)
    scores = nll.score(tiny("b", "delay"), clips, counts, frame_rate=50.0, batch_size=4, bootstrap=Bootstrap(200))
    names = scores.estimates
    assert names["nll_uniform"].value == pytest.approx(math.log(16))
    assert names["nll_unigram_gain"].value == pytest.approx(names["nll_unigram"].value - names["nll_caption"].value)
    assert names["nll_prompt_gain"].value == pytest.approx(
        names["nll_caption+shuffled_prompt"].value - names["nll_caption+prompt"].value
    )
    assert names["nll_caption"].low < names["nll_caption"].value < names["nll_caption"].high
    per_codebook = [names[f"nll_caption_q{q}"].value for q in (1, 2, 3, 4)]
    assert names["nll_caption"].value == pytest.approx(np.mean(per_codebook))
    assert {"nll", "ppl", "bps", "nll_q4", "nll_unigram", "nll_bigram", "nll_copy", "nll_prompt", "prompt_gain"} <= set(
        scores.metrics
    )
    table = scores.tables["nll"]
    assert table["id"].tolist() == [clip.id for clip in clips]
    cells = table["frames"] * 4
    assert (table["caption"] * cells).sum() / cells.sum() == pytest.approx(names["nll_caption"].value)
    assert scores.details["estimates"]["nll_caption"]["n"] == 6
    assert len(scores.notes["baselines"]["bigram_weight"]) == len(scores.notes["baselines"]["copy_weight"]) == 4
    assert names["nll_copy_gain"].value == pytest.approx(names["nll_copy"].value - names["nll_caption"].value)
    frames = scores.details["notes"]["nll_by_frame"]
    assert (frames["edges"], frames["clips"]) == ([0, 10], [6])
    for name in (*baselines.NAMES, "caption", "caption+prompt"):
        (one,) = frames["nll"][name]["all"]
        assert one == pytest.approx(names[f"nll_{name}"].value, rel=1e-5)


def test_nll_by_frame_of_a_clip_longer_than_the_model_counts_frames_of_the_clip() -> None:
    model, clips = tiny("a", "delay", max_frames=10), examples(4, "a", frames=30)
    grids = [clip.codes for clip in clips]
    result = nll.add_baselines(
        nll.evaluate(model, clips, TEXT_VARIANTS[:1], 3, 0), clips, baselines.fit(grids, grids, 4, 16)
    )
    assert result.edges.tolist() == [0, 10, 25, 30]
    for name in ("caption", *baselines.NAMES):
        np.testing.assert_allclose(result.by_range[name].sum(axis=2), result.sums[name])
    # Clip 0 has three windows of 10 frames: the first is a range, the others are the other two.
    cut = [replace(clips[0], id=f"{start}", codes=clips[0].codes[:, start : start + 10]) for start in (0, 10, 20)]
    alone = nll.evaluate(model, cut, TEXT_VARIANTS[:1], 8, 0).sums["caption"]
    first, *others = result.by_range["caption"][0].T
    assert first == pytest.approx(alone[0], rel=1e-5)
    assert sum(others) == pytest.approx(alone[1] + alone[2], rel=1e-5)


def test_the_beat_of_each_window_is_the_clips_and_its_gain_is_over_none() -> None:
    model, beats = (
        tiny("a", "delay", max_frames=10, beat=True),
        [Beat(100.0, -0.2), Beat(131.0, 0.7), NO_BEAT, Beat(80.0, 0.05)],
    )
    clips = [replace(clip, beat=beat) for clip, beat in zip(examples(4, "a", frames=30), beats, strict=True)]
    scores = nll.score(model, clips, None, frame_rate=50.0, bootstrap=Bootstrap(50))
    table = scores.tables["nll"].set_index("id")
    for clip in clips:
        total = {"caption": 0.0, "without_beat": 0.0}
        for part in nll.windows([clip.codes.shape[1]], 10):
            codes = torch.from_numpy(clip.codes[:, part.start : part.stop].astype(np.int64))[None]
            bpm, first = clip.beat
            given = Conditions.from_arrays([clip.text], beats=[(bpm, first - part.start / 50)])
            for name, one in (("caption", given), ("without_beat", given.without_beat())):
                with torch.no_grad():
                    total[name] += float(cell_nll(model(codes, one), codes).sum())
        for name, nats in total.items():
            assert table.loc[clip.id, name] == pytest.approx(nats / clip.codes.size, rel=1e-5)
    assert (table["caption"] != table["without_beat"]).tolist() == [True, True, False, True]
    gain = scores.estimates["nll_without_beat"].value - scores.estimates["nll_caption"].value
    assert scores.metrics["beat_gain"] == pytest.approx(gain, abs=1e-5)
    assert "beat_gain" not in scores.headline


def test_without_beats_or_a_model_that_is_told_them_there_is_no_gain() -> None:
    clips = examples(4, "a")
    beats = [replace(clip, beat=Beat(120.0)) for clip in clips]
    deaf = tiny("a", "delay")
    found = [
        nll.score(model, some, None, frame_rate=50.0, bootstrap=Bootstrap(50))
        for model, some in ((deaf, beats), (deaf, clips), (tiny("a", "delay", beat=True), clips))
    ]
    assert not any(name.startswith(("nll_beat_gain", "nll_without_beat")) for one in found for name in one.estimates)
    assert found[0].estimates == found[1].estimates


def test_dropout_is_off_and_the_mode_is_restored() -> None:
    model, clips = tiny("a", "delay", dropout=0.5), examples(2, "a")
    model.train()
    first, second = (nll.evaluate(model, clips, TEXT_VARIANTS[:1], 2, 0).sums["caption"] for _ in range(2))
    assert np.array_equal(first, second)
    assert model.training


def test_examples_come_from_the_stores_of_one_split(tmp_path: Path, rng: np.random.Generator) -> None:
    codes, text = rng.integers(0, 16, (6, 4)), rng.normal(size=(3, 12))
    for name, keys in (("tokens", "abc"), ("text", "abc"), ("few", "ab")):
        with atomic_dir(tmp_path / name) as part:
            writer = ArrayWriter(part, "uint16" if name == "tokens" else "float16")
            for key in keys:
                about = {"split": "train" if key == "a" else "test", "track_id": f"t{key}", "digest": f"d{key}"}
                writer.add(key, codes if name == "tokens" else text, **about)
            writer.close({})
    with atomic_dir(tmp_path / "beats") as part:
        writer = ArrayWriter(part, "uint16")
        for key, beat in (("b", (90.0, 0.5)), ("c", NO_BEAT)):
            writer.add(key, codes, split="test", track_id=key, bpm=beat[0], beat_s=beat[1])
        writer.close({})
    stores = {name: ArrayStore(tmp_path / name) for name in ("tokens", "text", "few")}
    found = nll.read_examples("test", stores["tokens"], stores["text"])
    assert [(example.id, example.caption, example.track) for example in found] == [("b", "db", "tb"), ("c", "dc", "tc")]
    assert np.array_equal(found[0].codes, codes.T)
    assert not any(example.has_beat for example in found)
    known = nll.read_examples("test", ArrayStore(tmp_path / "beats"), stores["text"])
    assert [(example.has_beat, example.beat[0]) for example in known] == [
        (True, 90.0),
        (False, pytest.approx(np.nan, nan_ok=True)),
    ]
    with pytest.raises(UserError, match="no entry 'c'"):
        nll.read_examples("test", stores["tokens"], stores["few"])


@pytest.mark.parametrize("pattern", ["interleaved", "delay", "parallel"])
def test_prompts_of_unequal_length_score_as_each_by_itself(pattern: str) -> None:
    model, clips = tiny("b", pattern), examples(6, "b")
    lengths = [7, 2, 5, 1, 7, 3]
    clips = [replace(c, prompt=c.prompt[:, :n]) for c, n in zip(clips, lengths, strict=True) if c.prompt is not None]
    alone, together = (nll.evaluate(model, clips, PROMPT_VARIANTS, size, 0) for size in (1, 6))  # alone none is padded
    for name, sums in alone.sums.items():
        np.testing.assert_allclose(together.sums[name], sums, rtol=1e-4)
    whole = nll.evaluate(model, examples(6, "b"), PROMPT_VARIANTS, 6, 0)
    assert whole.sums.keys() == alone.sums.keys()


def test_bad_input_is_named() -> None:
    model, clips = tiny("b", "delay"), examples(3, "b")
    with pytest.raises(UserError, match="'c0' occurs twice"):
        nll.evaluate(model, [*clips, clips[0]], TEXT_VARIANTS, 2, 0)
    with pytest.raises(UserError, match="1 clip"):
        nll.score(model, clips[:1], None, frame_rate=50.0, bootstrap=Bootstrap())
    with pytest.raises(UserError, match="clip x: it has no audio prompt"):
        nll.evaluate(model, [*clips, replace(clips[0], id="x", prompt=None)], PROMPT_VARIANTS, 2, 0)
    broken = replace(clips[1], text=np.full_like(clips[1].text, np.nan))
    with pytest.raises(UserError, match="clip c1: its NLL is not finite"):
        nll.evaluate(model, [clips[0], broken, clips[2]], TEXT_VARIANTS[:1], 3, 0)
