"""The stage embed: which texts of which clips are embedded, counted and kept."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from musicgen_lite import params, text
from musicgen_lite.errors import UserError
from musicgen_lite.io.arrays import ArrayStore, ArrayWriter
from musicgen_lite.io.clips import Clip, ClipWriter
from musicgen_lite.text.hub import T5TextEncoder
from musicgen_lite.text.variants import SHUFFLES, text_variants
from stages import embed

ROOT = Path(__file__).parent.parent.parent
ASPECTS = {"t0": ("rock", "loud", "e-bass"), "t1": ("", "calm"), "t2": (), "v0": ("soft",), "x0": ("jazz",)}
CAPTIONS = {key: f"Caption of {key}." for key in ASPECTS} | {"t1": "A calm piano melody " * 20, "x0": "Slow jazz " * 30}
SPLITS = {"t": "train", "v": "validation", "x": "test"}


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which five clips lie where the stage looks for them."""
    shutil.copy(ROOT / "dvc.yaml", tmp_path)  # what names unfinished work
    monkeypatch.chdir(tmp_path)
    Path("data/clips").mkdir(parents=True)
    writer = ClipWriter("data/clips")
    for key, aspects in ASPECTS.items():
        writer.add(Clip(key, key, SPLITS[key[0]], CAPTIONS[key], aspects, np.zeros(160, np.float32), 16000))
    writer.close()


def embedded(**changes: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the description that the stage writes, with some of the parameters of `text` changed."""
    tree = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    tree["compute"] |= {"device": "cpu", "threads": 1}
    tree["text"] |= {"max_tokens": 24, **changes}
    embed.main(params.parse(tree))
    store = ArrayStore("data/text")
    return {key: np.array(store[key]) for key in store.keys}, store.meta


def close(found: np.ndarray, expected: np.ndarray) -> bool:
    """Equal up to a step of half precision, whose steps are 2^-10 of a value."""
    return found.shape == expected.shape and bool(
        np.allclose(found.astype(float), expected.astype(float), rtol=2**-10, atol=1e-5)
    )


def same(found: np.ndarray, words: str) -> bool:
    return found.dtype == np.float16 and close(found, text.load("embedded").encode([words], 24)[0])


@pytest.mark.usefixtures("clips")
def test_equal_texts_have_equal_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CAPTIONS, "t0", CAPTIONS["t2"])
    Path("data/clips/clips-00000.parquet").unlink()
    writer = ClipWriter("data/clips")
    for key in ASPECTS:
        writer.add(Clip(key, key, SPLITS[key[0]], CAPTIONS[key], (), np.zeros(160, np.float32), 16000))
    writer.close()
    embedded()
    index = ArrayStore("data/text").index.set_index("key")["digest"]
    assert index["t0"] == index["t2"]
    assert index.nunique() == len(ASPECTS) - 1


@pytest.mark.usefixtures("clips")
def test_by_default_every_clip_has_its_caption(capsys: pytest.CaptureFixture[str]) -> None:
    found, meta = embedded()
    assert sorted(found) == sorted(ASPECTS)
    assert all(same(found[key], CAPTIONS[key]) for key in ASPECTS)
    encoder = text.load("embedded")
    assert meta | {"dtype": "", "shards": 0, "arrays": 0} == {
        "name": "embedded", "fingerprint": encoder.fingerprint, "dim": encoder.dim, "max_tokens": 24,
        "variants": {"caption": [""]}, "texts": {"caption": 5}, "truncated": {"caption": 2}, "without_aspects": 0,
        "dtype": "", "shards": 0, "arrays": 0,
    }  # fmt: skip
    out = capsys.readouterr().out
    assert "caption: 5, truncated at 24 tokens: 2\n" in out
    assert "without aspects" not in out


@pytest.mark.slow
@pytest.mark.usefixtures("clips")
def test_what_was_embedded_before_a_kill_is_not_embedded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = embedded(batch_size=1)
    shutil.rmtree("data/text")
    monkeypatch.setattr(embed, "ArrayWriter", partial(ArrayWriter, arrays_per_shard=2))
    encode, done = T5TextEncoder.encode, list[str]()

    def killed(self: T5TextEncoder, texts: Sequence[str], limit: int) -> list[np.ndarray]:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.extend(texts)
        return encode(self, texts, limit)

    with monkeypatch.context() as patch:
        patch.setattr(T5TextEncoder, "encode", killed)
        with pytest.raises(KeyboardInterrupt):
            embedded(batch_size=1)
    assert not Path("data/text").exists()
    again = list[str]()

    def recorded(self: T5TextEncoder, texts: list[str], limit: int) -> list[np.ndarray]:
        again.extend(texts)
        return encode(self, texts, limit)

    monkeypatch.setattr(T5TextEncoder, "encode", recorded)
    found, _ = embedded(batch_size=1)
    assert len(again) == 3  # the third was not yet in a whole shard
    assert set(again) & set(done) == {done[2]}
    assert found.keys() == whole.keys()
    assert all(np.array_equal(found[key], whole[key]) for key in whole)
    assert not list(Path("checkpoints").iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("clips")
def test_training_clips_have_every_text_that_training_draws_from(capsys: pytest.CaptureFixture[str]) -> None:
    found, meta = embedded(variants=["shuffled", "both"])
    expected = {key: CAPTIONS[key] for key in ASPECTS}  # what everything but training reads
    for key in ("t0", "t1", "t2"):
        aspects = [aspect for aspect in ASPECTS[key] if aspect]
        expected |= {one.key: one.text for one in text_variants(key, CAPTIONS[key], aspects, ["both", "shuffled"])}
    assert len(expected) == 5 + 3 * (1 + SHUFFLES)
    assert sorted(found) == sorted(expected)
    assert all(same(found[key], words) for key, words in expected.items())
    assert not np.array_equal(found["t0"], found["t0/both"])
    assert meta["variants"] == {"both": ["/both"], "shuffled": [f"/shuffled-{n}" for n in range(SHUFFLES)]}
    assert meta["texts"] == {"caption": 5, "both": 3, "shuffled": 3 * SHUFFLES}
    assert meta["truncated"] == {"caption": 2, "both": 1, "shuffled": 0}
    assert meta["without_aspects"] == 1
    assert "training clips without aspects: 1; their caption" in capsys.readouterr().out


@pytest.mark.usefixtures("clips")
@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_size_of_a_batch_changes_nothing(batch_size: int) -> None:
    chosen = ["caption", "aspects", "both", "shuffled"]
    (one, about), (other, also) = embedded(variants=chosen), embedded(variants=chosen[::-1], batch_size=batch_size)
    assert about == also
    assert one.keys() == other.keys()
    assert all(close(one[key], other[key]) for key in one)


def rewrite(captions: dict[str, str]) -> None:
    """The clips with other captions."""
    shutil.rmtree("data/clips")
    Path("data/clips").mkdir()
    writer = ClipWriter("data/clips")
    for key, caption in captions.items():
        writer.add(Clip(key, key, SPLITS[key[0]], caption, (), np.zeros(160, np.float32), 16000))
    writer.close()


@pytest.mark.usefixtures("clips")
def test_captions_that_the_encoder_cannot_read_are_counted_and_refused_where_all_are_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rewrite(CAPTIONS | {"t0": "音楽 の 曲", "v0": "A beat 🎵."})
    embedded()
    assert "captions: 2 of 5 hold characters that the text encoder does not know" in capsys.readouterr().out
    shutil.rmtree("data/text")
    rewrite(dict.fromkeys(CAPTIONS, "موسيقى هادئة"))
    with pytest.raises(UserError, match="captions: the text encoder can read none of 5: it does not know "):
        embedded()
    assert not Path("data/text").exists()
