"""What reaches the model: which clips in which order, cropped where, with which conditions."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from musicgen_lite.errors import UserError
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.dataset import Batch, SampleRef, TokenDataset
from musicgen_lite.training.keyed_random import keyed_uniform
from musicgen_lite.training.sampler import ClipLoader, EpochSampler, RankShard, StepLoader
from tests.support.corpora import (
    CODEBOOKS,
    CODEC,
    DIM,
    FRAMES,
    PROMPT,
    SIZE,
    TEXT,
    VARIANTS,
    melodies,
    write_corpus,
    write_store,
    write_varied_corpus,
)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(*write_corpus(tmp_path, short=True))


KEYS = [f"t{n:02d}" for n in range(10)] + [f"v{n:02d}" for n in range(3)]


def dataset(corpus: Corpus, text: float = 0.0, audio: float | None = None) -> TokenDataset:
    return TokenDataset(corpus, FRAMES, seed=3, dropout_text=text, dropout_audio=audio)


def test_uniform_numbers_fill_the_unit_interval_and_repeat() -> None:
    numbers = np.array([keyed_uniform(1, n, "clip", "crop") for n in range(4000)])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts, _ = np.histogram(numbers, bins=10, range=(0, 1))
    assert ((counts - 400) ** 2 / 400).sum() < 27.9  # the 99.9 % point of chi square with 9 degrees of freedom
    assert keyed_uniform(1, 7, "clip", "crop") == numbers[7]


def test_a_batch_holds_the_stored_codes_and_texts(corpus: Corpus) -> None:
    clips = ["t00", "t01", "t02"]  # 5, 9 and 13 frames
    batch = dataset(corpus, audio=0.0).batch([SampleRef(clip) for clip in clips])
    assert batch.codes.shape == (3, CODEBOOKS, FRAMES)
    assert batch.codes.dtype == torch.int64
    assert batch.mask.sum(dim=1).tolist() == [5, 9, FRAMES]
    assert batch.cells == batch.step_cells == (5 + 9 + FRAMES) * CODEBOOKS
    for row, clip in enumerate(clips):
        frames = int(batch.mask[row].sum())
        assert batch.codes[row, :, :frames].T.tolist() == corpus.targets[clip][:frames].tolist()
        assert (batch.codes[row, :, frames:] == SIZE).all()
        text = batch.conditions.text[row][batch.conditions.text_mask[row]]
        assert text.tolist() == corpus.text[clip].tolist()
        assert batch.conditions.prompt is not None
        assert batch.conditions.prompt[row].T.tolist() == corpus.prompts[clip].tolist()
    assert batch.conditions.has_text.all()
    assert batch.conditions.has_prompt.all()


def test_model_a_gets_no_prompts(corpus: Corpus) -> None:
    conditions = dataset(corpus).batch([SampleRef("t00", 0)]).conditions
    assert conditions.prompt is None
    assert not conditions.has_prompt.any()


def test_training_crops_at_random_places_and_validation_at_the_start(corpus: Corpus) -> None:
    data = dataset(corpus)
    whole = corpus.targets["t02"].tolist()  # 13 frames: 4 places for a crop of 10
    starts = []
    for epoch in range(200):
        codes = data.batch([SampleRef("t00", epoch), SampleRef("t02", epoch)]).codes[1].T.tolist()
        assert codes == data.batch([SampleRef("t02", epoch)]).codes[0].T.tolist()  # whatever else is in the batch
        starts.append(next(start for start in range(4) if whole[start : start + FRAMES] == codes))
    assert np.bincount(starts, minlength=4).min() > 30
    assert data.batch([SampleRef("t02")]).codes[0].T.tolist() == whole[:FRAMES]


def test_conditions_are_dropped_by_their_shares_and_independently(corpus: Corpus) -> None:
    data = dataset(corpus, text=0.3, audio=0.5)
    clips = corpus.clips("train")
    batches = [data.batch([SampleRef(clip, epoch) for clip in clips]).conditions for epoch in range(300)]
    text = torch.cat([batch.has_text for batch in batches]).float()
    audio = torch.cat([batch.has_prompt for batch in batches]).float()
    # 3000 draws: three standard deviations are 0.025 and 0.027.
    assert float(text.mean()) == pytest.approx(0.7, abs=0.026)
    assert float(audio.mean()) == pytest.approx(0.5, abs=0.028)
    assert float((text * audio).mean()) == pytest.approx(0.35, abs=0.027)
    alone = [data.batch([SampleRef(clip, 4)]).conditions for clip in clips]
    assert [bool(one.has_text) for one in alone] == batches[4].has_text.tolist()
    assert [bool(one.has_prompt) for one in alone] == batches[4].has_prompt.tolist()
    validation = data.batch([SampleRef(clip) for clip in clips]).conditions
    assert bool(validation.has_text.all() & validation.has_prompt.all())


def varied(directory: Path, variants: dict[str, list[str]] = VARIANTS) -> Corpus:
    return Corpus(*write_varied_corpus(directory, variants))


def read(data: TokenDataset, samples: list[SampleRef]) -> list[str]:
    """The keys of the texts that a batch holds."""
    store = data.corpus.text
    keys = {tuple(store[key][0].tolist()): key for key in store.keys}
    return [keys[tuple(text[0].tolist())] for text in data.batch(samples).conditions.text]


def test_one_of_the_texts_is_drawn_each_time_by_equal_shares_of_the_variants(tmp_path: Path) -> None:
    corpus = varied(tmp_path)
    data, clips = dataset(corpus), corpus.clips("train")
    epochs = [read(data, [SampleRef(clip, epoch) for clip in clips]) for epoch in range(300)]
    assert {key.split("/")[0] for key in epochs[0]} == set(clips)
    counts = Counter(key.partition("/")[2] for keys in epochs for key in keys)
    # 3000 draws, three standard deviations: 77 and 61.
    assert counts[""] == pytest.approx(1000, abs=77)
    assert counts["both"] == pytest.approx(1000, abs=77)
    assert counts["0"] == pytest.approx(500, abs=61)
    assert counts["1"] == pytest.approx(500, abs=61)
    # What is drawn for a clip depends on neither the batch, nor the run, nor the order in which variants are named.
    assert [read(data, [SampleRef(clip, 7)])[0] for clip in clips] == epochs[7]
    again = dataset(varied(tmp_path / "again", dict(reversed(VARIANTS.items()))), text=0.5, audio=0.5)
    assert read(again, [SampleRef(clip, 7) for clip in clips[::-1]]) == epochs[7][::-1]
    # Validation reads the captions.
    everyone = [*clips, *corpus.clips("validation")]
    assert read(data, [SampleRef(clip) for clip in everyone]) == everyone


def test_variants_move_no_other_draw(tmp_path: Path) -> None:
    plain, rich = varied(tmp_path / "a", {"caption": [""]}), varied(tmp_path / "b")
    samples = [SampleRef(clip, epoch) for epoch in range(20) for clip in plain.clips("train")]
    one, other = (dataset(corpus, text=0.3, audio=0.5).batch(samples) for corpus in (plain, rich))
    assert torch.equal(one.codes, other.codes)
    assert torch.equal(one.conditions.has_text, other.conditions.has_text)
    assert torch.equal(one.conditions.has_prompt, other.conditions.has_prompt)
    assert read(dataset(plain), samples) == [sample.clip for sample in samples]
    assert plain.facts() != rich.facts()


def test_variants_that_lack_a_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"text: 10 of the 53 entries for the 13 clips of .*, 't00/2' first"):
        varied(tmp_path, {**VARIANTS, "shuffled": ["/0", "/1", "/2"]})


def test_the_text_is_dropped_alike_for_both_models(corpus: Corpus) -> None:
    samples = [SampleRef(clip, epoch) for epoch in range(9) for clip in corpus.clips("train")]
    a, b = dataset(corpus, text=0.3).batch(samples), dataset(corpus, text=0.3, audio=0.5).batch(samples)
    assert torch.equal(a.conditions.has_text, b.conditions.has_text)
    assert torch.equal(a.codes, b.codes)


def test_each_pass_visits_every_clip_once_in_an_order_of_its_own() -> None:
    clips = [f"c{n}" for n in range(20)]
    sampler = EpochSampler(clips, seed=1)
    passes = [[sampler[20 * epoch + place] for place in range(20)] for epoch in range(3)]
    for epoch, samples in enumerate(passes):
        assert sorted(sample.clip for sample in samples) == sorted(clips)
        assert {sample.epoch for sample in samples} == {epoch}
    assert len({tuple(sample.clip for sample in samples) for samples in passes}) == 3
    assert [sampler[n] for n in range(20)] == [EpochSampler(clips[::-1], seed=1)[n] for n in range(20)]
    assert [sampler[n] for n in range(20)] != [EpochSampler(clips, seed=2)[n] for n in range(20)]


def steps(corpus: Corpus, batch_size: int, start: int, shard: RankShard) -> list[list[Batch]]:
    """The micro-batches of optimizer steps of 4 clips, from step `start` on."""
    sampler = EpochSampler(corpus.clips("train"), seed=1)
    loader = StepLoader(dataset(corpus), sampler, batch_size, 4, first=0, start=start, stop=6, shard=shard)
    batches, count = list(loader), 4 // batch_size // shard.world
    assert len(loader) == 6 * count
    return [batches[at : at + count] for at in range(0, len(batches), count)]


def rows(batches: list[Batch]) -> list[list[int]]:
    """Every clip's codes, without what fills it up."""
    return sorted(
        code[:, mask].flatten().tolist()
        for batch in batches
        for code, mask in zip(batch.codes, batch.mask, strict=True)
    )


def test_a_step_holds_the_same_clips_however_it_is_cut_up(corpus: Corpus) -> None:
    whole = steps(corpus, 4, 0, RankShard())
    assert [len(step) for step in whole] == [1] * 6
    for batch_size, world in ((2, 1), (1, 1), (2, 2), (1, 4)):
        shards = [steps(corpus, batch_size, 0, RankShard(rank, world)) for rank in range(world)]
        for at, step in enumerate(whole):
            pieces = [batch for shard in shards for batch in shard[at]]
            assert rows(pieces) == rows(step)
            assert {piece.step_cells for piece in pieces} == {sum(piece.cells for piece in pieces)}
    assert [rows(step) for step in steps(corpus, 4, 2, RankShard())] == [rows(step) for step in whole[2:]]


def test_validation_covers_each_clip_once_with_any_number_of_processes(corpus: Corpus) -> None:
    clips = corpus.clips("train")
    expected = rows(list(ClipLoader(dataset(corpus), clips, 3)))
    assert len(expected) == 10
    for world in (1, 2, 3):
        loaders = [ClipLoader(dataset(corpus), clips, 3, RankShard(rank, world)) for rank in range(world)]
        batches = [list(loader) for loader in loaders]
        assert {len(found) for found in batches} == {len(loaders[0])}
        counted = [batch for found in batches for batch in found if batch.mask.any()]
        assert rows(counted) == expected


def damage(directory: Path, store: str, keys: list[str], **changes: object) -> None:
    """Write one store anew with other clips or another description."""
    shutil.rmtree(directory / store)
    if store == "text":
        write_store(directory / store, {key: np.ones((2, DIM)) for key in keys}, "float16", {**TEXT, **changes})
    else:
        lengths = dict.fromkeys(keys, PROMPT)
        code = int(changes.pop("code", 0))  # type: ignore[call-overload]
        arrays = {key: melodies(length, 0) for key, length in lengths.items()}
        arrays[keys[-1]][0, 0] = code
        write_store(directory / store, arrays, "uint16", {**CODEC, **changes})


@pytest.mark.parametrize(
    ("store", "keys", "changes", "expected"),
    [
        ("text", KEYS[:-1], {}, "text: 1 of the 13 entries for the 13 clips of .*target are missing, 'v02' first"),
        ("tokens/prompt", KEYS[1:], {}, "prompt: 1 of the 13 entries .* clips of .*target are missing, 't00' first"),
        ("tokens/prompt", KEYS, {"fingerprint": "other"}, "prompt: fingerprint of its codec is other, .* is codec"),
        ("tokens/target", KEYS, {"code": 12}, "target: clip 'v02' has the code 12, but the codec's codes are 0 to 11"),
        ("tokens/target", KEYS[:10], {"code": 1}, "no clip in the split 'validation'"),
    ],
)
def test_stores_that_do_not_fit_together_are_named(
    tmp_path: Path, store: str, keys: list[str], changes: dict[str, object], expected: str
) -> None:
    stores = write_corpus(tmp_path)
    damage(tmp_path, store, keys, **changes)
    with pytest.raises(UserError, match=expected):
        Corpus(*stores).clips("validation")


def test_a_store_of_another_kind_is_named(tmp_path: Path) -> None:
    tokens, _ = write_corpus(tmp_path)
    with pytest.raises(UserError, match=r"target: meta.json lacks dim, max_tokens"):
        Corpus(tokens, tokens / "target")
