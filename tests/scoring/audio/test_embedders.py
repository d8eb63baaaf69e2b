from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from musicgen_lite.errors import UserError
from musicgen_lite.scoring.audio import embeddings
from musicgen_lite.scoring.audio.embedders import ClapEmbedder, CodecLatentEmbedder, MelEmbedder
from musicgen_lite.scoring.audio.embeddings import Embedder, Item, embed
from tests.support.standins import RATE, RoundingCodec, ToneClap, sine

MEL = MelEmbedder()
ALL: list[Embedder] = [ClapEmbedder(ToneClap()), CodecLatentEmbedder(RoundingCodec()), MEL]


@pytest.mark.parametrize("embedder", ALL, ids=lambda e: e.name)
def test_windows_are_cut_alike_and_repeat_exactly(embedder: Embedder) -> None:
    wave = np.concatenate([sine(440), sine(880), sine(220)])
    rows = embedder.embed(wave, RATE)
    assert rows.shape == (3, embedder.dim)
    assert np.array_equal(rows, embedder.embed(wave, RATE))
    assert np.linalg.norm(rows[0] - rows[1]) > 1e-3
    assert len(embedder.fingerprint) >= 4


def test_a_rest_gets_a_window_aligned_to_the_end() -> None:
    wave = np.concatenate([sine(440, 1.5), sine(880, 1.0)])
    rows = MEL.embed(wave, RATE)
    assert len(rows) == 3
    assert np.allclose(rows[2], MEL.embed(sine(880), RATE)[0], atol=0.7)
    assert len(MEL.embed(sine(440, 0.3), RATE)) == 1
    assert len(MEL.embed(sine(440, 2.05), RATE)) == 2


def test_mel_statistics_know_pitch_level_and_movement_and_are_finite_for_silence() -> None:
    low, high, loud = (
        MEL.embed(sine(200), RATE)[0],
        MEL.embed(sine(3000), RATE)[0],
        MEL.embed(sine(200, level=0.6), RATE)[0],
    )
    assert low[:32].argmax() < high[:32].argmax()
    # Twice the amplitude is four times the power, in the bands above the floor.
    assert loud[low[:32].argmax()] - low[:32].max() == pytest.approx(np.log(4), abs=0.01)
    pulses = sine(200) * (np.arange(RATE) // 1600 % 2).astype(np.float32)
    band = 32 + int(low[:32].argmax())
    assert MEL.embed(pulses, RATE)[0, band] > 10 * low[band]
    assert np.isfinite(MEL.embed(np.zeros(RATE, np.float32), RATE)).all()


def test_mel_statistics_hardly_change_with_the_rate() -> None:
    wave = sine(440, 1.0, 32000)
    assert np.abs(MEL.embed(wave, 32000)[:, :16] - MEL.embed(sine(440), RATE)[:, :16]).max() < 0.5


def test_fingerprints_follow_the_model_inside() -> None:
    assert ClapEmbedder(ToneClap()).fingerprint != ClapEmbedder(ToneClap(1.0)).fingerprint
    other = RoundingCodec()
    other.fingerprint = "other"
    assert CodecLatentEmbedder(other).fingerprint != ALL[1].fingerprint


def items(**waves: np.ndarray) -> list[Item]:
    return [(name, wave, RATE) for name, wave in waves.items()]


def test_a_set_is_read_once_and_silent_clips_count() -> None:
    waves = items(a=sine(440, 2), b=np.zeros(2 * RATE, np.float32), c=sine(300, 2))

    def once() -> Iterator[Item]:
        yield from waves

    spaces = embed(once(), ALL, "set")
    assert set(spaces) == {"clap", "codec", "mel"}
    for one in spaces.values():
        assert one.ids == ("a", "b", "c")
        assert one.silent == ("b",)
        assert one.windows.tolist() == [2, 2, 2]
        assert one.seconds == 2.0
    chosen = spaces["mel"].select(["c", "a"])
    assert np.array_equal(chosen.rows[:2], MEL.embed(waves[2][1], RATE))
    assert np.allclose(chosen.means()[1], MEL.embed(waves[0][1], RATE).mean(0))
    assert chosen.silent == ()
    with pytest.raises(UserError, match="no entry for 1"):
        spaces["mel"].select(["a", "z"])


def test_the_digest_is_that_of_the_audio() -> None:
    pair = items(a=sine(440), b=sine(300))
    digest = embed(pair, [MEL], "x")["mel"].digest
    assert embed(pair, [MEL], "y")["mel"].digest == digest
    assert embed(items(a=sine(440), b=sine(301)), [MEL], "x")["mel"].digest != digest


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (("a", sine(440), RATE), "'a' occurs twice"),
        (("b", np.array([0.1, np.nan] * 8000, np.float32), RATE), "clip 'b': holds NaN"),
        (("b", sine(440, 1, 8000), 8000), "clip 'b': 8000 Hz, but clip 'a' has 16000 Hz"),
        (("b", sine(440, 2), RATE), r"clip 'b': 2\.00 s, but clip 'a' has 1\.00 s"),
        (("b", np.zeros(0, np.float32), RATE), "clip 'b': expected mono"),
        (("b", np.zeros((2, RATE), np.float32), RATE), "clip 'b': expected mono"),
    ],
)
def test_a_bad_clip_stops_the_set_by_name(bad: Item, message: str) -> None:
    with pytest.raises(UserError, match=f"some set.*{message}"):
        embed([*items(a=sine(440)), bad], [MEL], "some set")


def test_one_clip_is_no_set() -> None:
    for few in ([], items(a=sine(440))):
        with pytest.raises(UserError, match=r"some set: [01] clip"):
            embed(few, [MEL], "some set")


def test_stored_sets_come_back_and_other_weights_are_refused(tmp_path: Path) -> None:
    spaces = embed(items(a=sine(440, 2), b=np.zeros(2 * RATE, np.float32)), ALL, "real")
    embeddings.save(tmp_path / "reference", {"real": spaces})
    for embedder in ALL:
        found, wanted = embeddings.load(tmp_path / "reference", "real", embedder), spaces[embedder.name]
        assert np.array_equal(found.rows, wanted.rows)
        assert np.array_equal(found.windows, wanted.windows)
        fields = ("embedder", "fingerprint", "digest", "seconds", "ids", "silent")
        assert [getattr(found, f) for f in fields] == [getattr(wanted, f) for f in fields]
    with pytest.raises(UserError, match=r"clap: made by clap tone0\.0, but now it is tone1\.0"):
        embeddings.load(tmp_path / "reference", "real", ClapEmbedder(ToneClap(1.0)))
    with pytest.raises(UserError, match="missing"):
        embeddings.load(tmp_path / "reference", "noise", MEL)


def test_a_stored_set_of_other_clips_versions_or_embedder_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = {"a": sine(440), "b": sine(300)}
    folder = tmp_path / "reference"
    embeddings.save(folder, {"real": embed(items(**waves), [MEL], "real")})
    stored = embeddings.load(folder, "real", MEL)
    embeddings.check_clips(stored, lambda clip: (waves[clip], RATE), "real")
    with pytest.raises(UserError, match=f"real: made from clips of digest {stored.digest}, but now they have"):
        embeddings.check_clips(stored, lambda clip: (waves[clip] * np.float32(0.99), RATE), "real")
    now = embeddings.versions()
    monkeypatch.setattr(embeddings, "versions", lambda: now | {"torch": "9.9"})
    with pytest.raises(UserError, match=rf"real.mel: made with torch {now['torch']}, now 9\.9; run `dvc repro -f"):
        embeddings.load(folder, "real", MEL)
    monkeypatch.undo()
    (folder / "real" / "mel").rename(folder / "real" / "codec")
    with pytest.raises(UserError, match="made by mel, not codec"):
        embeddings.load(folder, "real", CodecLatentEmbedder(RoundingCodec()))


def test_clips_that_are_known_to_be_shorter_are_embedded_at_their_own_length() -> None:
    waves = {"a": sine(300, 2.0), "b": sine(400, 1.0), "c": sine(500, 2.0)}
    items = [(name, wave, RATE) for name, wave in waves.items()]
    found = embeddings.embed(items, [MelEmbedder()], "clips", {"b"})["mel"]
    np.testing.assert_array_equal(found.select(["b"]).rows, MelEmbedder().embed(waves["b"], RATE))
    assert found.seconds == 2.0
    alone = embeddings.embed([items[1], ("d", sine(410, 0.7), RATE)], [MelEmbedder()], "clips", {"b", "d"})
    assert alone["mel"].seconds == 0.0  # none that all share
    with pytest.raises(UserError, match=r"clip 'b': 1\.00 s, but clip 'a' has 2\.00 s"):
        embeddings.embed(items, [MelEmbedder()], "clips")
    with pytest.raises(UserError, match=r"clip 'c': 2\.00 s, but clip 'b' has 1\.00 s"):
        embeddings.embed([items[1], items[2]], [MelEmbedder()], "clips", {"c"})
