"""Music through a sampled SoundFont: arrangements and their production are seeded; what is not installed is named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretraining import sampled

RATE = 16000


def installed() -> bool:
    try:
        sampled.keep_loaded()
    except sampled.MissingSynthesizer:
        return False
    return True


def test_an_arrangement_is_told_whole_and_in_order() -> None:
    for seed in range(30):
        events = sampled.arrange(seed, 4.0)
        assert events == sampled.arrange(seed, 4.0)
        assert [event[0] for event in events] == sorted(event[0] for event in events)
        programs = {arguments[0]: arguments[1:] for _, name, arguments in events if name == "program"}
        struck = [(time, arguments) for time, name, arguments in events if name == "noteon"]
        released = [arguments for _, name, arguments in events if name == "noteoff"]
        assert struck
        assert sorted(arguments[:2] for _, arguments in struck) == sorted(released)
        assert {arguments[0] for _, arguments in struck} <= programs.keys()
        assert all(21 <= pitch <= 108 and 15 <= velocity <= 127 for _, (_, pitch, velocity) in struck)
        for channel, (bank, program) in programs.items():
            drums = channel == sampled.DRUM_CHANNEL
            assert bank == (sampled.DRUM_BANK if drums else 0)
            assert program in (sampled.KITS if drums else range(128))


def test_a_room_passes_the_direct_sound_and_dies_away() -> None:
    for seed in range(10):
        response = sampled.room(np.random.default_rng(seed), RATE)
        assert abs(response[0] - 1.0) < 0.1
        assert 0 < np.sum(response[1:] ** 2) < 1.0
        assert np.sum(response[-1600:] ** 2) < 0.1 * np.sum(response[1:] ** 2)


def test_production_is_seeded_and_stays_below_full_scale() -> None:
    time = np.arange(2 * RATE) / RATE
    dry = (0.01 * np.sin(2 * np.pi * 220 * time)).astype(np.float32)
    waves = [sampled.produce(dry, seed, RATE) for seed in range(40)]
    assert np.array_equal(waves[3], sampled.produce(dry, 3, RATE))
    assert max(np.abs(wave).max() for wave in waves) < 1.0
    levels = [20 * np.log10(wave.std()) for wave in waves]
    assert -31 < min(levels) < -27
    assert -17 < max(levels) < -13


def test_an_absent_soundfont_names_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sampled, "SOUNDFONT", tmp_path / "none.sf2")
    with pytest.raises(sampled.MissingSynthesizer, match=r"none\.sf2 is absent: .*fluid-soundfont-gm"):
        sampled.synthesizer()


@pytest.mark.slow
def test_a_clip_is_the_same_whatever_was_played_before() -> None:
    if not installed():
        pytest.skip("needs fluid-soundfont-gm, libfluidsynth3 and pyfluidsynth")
    params: dict[str, Any] = {"seconds": 2.0, "rate": RATE}
    first, about = sampled.clip(7, "train", params)
    sampled.clip(8, "train", params)
    again, _ = sampled.clip(7, "train", params)
    assert first.shape == (32000,)
    assert first.std() > 0.01
    assert np.array_equal(first, again)
    assert about["programs"]
