"""Drum hits and rain: fixed samples of seeded kits, so that the same hit is always the same waveform."""

import functools
from dataclasses import dataclass

import numpy as np

from musicgen_lite.sources.synthetic.instruments import BAND_LIMIT

RAIN_S = 12.0


@dataclass(frozen=True)
class Kit:
    """How a drum kit sounds. Frequencies in Hz, times in seconds."""

    kick_hz: float
    kick_s: float
    click: float
    snare_hz: float
    snare_s: float
    snare_noise: float
    bright: float  # cutoff of everything
    hat_gain: float = 1.0


KITS = {
    "drum machine": Kit(50, 0.16, 0.5, 190, 0.09, 1.0, 7500, 0.9),
    "breakbeat drums": Kit(62, 0.09, 0.8, 230, 0.09, 1.2, 7000, 0.9),
    "boom bap drums": Kit(56, 0.13, 0.4, 180, 0.11, 0.9, 4500, 0.7),
    "rock drums": Kit(64, 0.10, 0.8, 200, 0.13, 1.1, 7000),
    "metal drums": Kit(68, 0.06, 1.6, 210, 0.12, 1.3, 7500),
    "funk drums": Kit(66, 0.08, 0.7, 250, 0.08, 1.1, 7000),
    "brushed drums": Kit(58, 0.12, 0.2, 190, 0.10, 0.5, 6000, 0.9),
    "hand percussion": Kit(75, 0.10, 0.2, 220, 0.08, 0.6, 6500, 0.8),
}
# Level of each drum against the pitched instruments' RMS.
LEVELS = {
    "kick": 3.0, "snare": 2.4, "clap": 1.9, "rim": 1.5, "tom": 2.2, "closed hat": 0.75, "open hat": 0.8, "ride": 0.6, "shaker": 0.6,
}  # fmt: skip
# Band (Hz), decay (s) of what is noise alone.
_NOISES = {"closed hat": (5200, 7400, 0.022), "open hat": (4600, 7400, 0.10), "shaker": (3600, 6500, 0.03)}


def _band(noise: np.ndarray, rate: int, low: float, high: float) -> np.ndarray:
    """Keep the band from `low` to `high` Hz, with soft edges; the RMS becomes 1."""
    bins = np.fft.rfft(noise)
    hz = np.fft.rfftfreq(len(noise), 1 / rate)
    high = min(high, BAND_LIMIT * rate)
    gain = (hz / low) ** 4 / (1 + (hz / low) ** 4) / (1 + (hz / high) ** 12)
    out = np.fft.irfft(bins * gain, len(noise))
    return out / np.sqrt(np.mean(out**2))


def _strike(t: np.ndarray, hz: float, fall: float, fall_s: float, decay: float) -> np.ndarray:
    """A skin: a sine whose frequency falls from `hz` x (1 + `fall`) to `hz`."""
    cycles = hz * t + hz * fall * fall_s * (1 - np.exp(-t / fall_s))
    return np.sin(2 * np.pi * cycles) * np.exp(-t / decay)


@functools.lru_cache(maxsize=256)
def hit(kit_name: str, drum: str, rate: int) -> np.ndarray:
    """One hit, float32 `[T]`, read-only, at its level in the kit."""
    kit = KITS[kit_name]
    t = np.arange(round(0.6 * rate)) / rate
    noise = np.random.default_rng([len(kit_name), len(drum), ord(drum[0])]).standard_normal(len(t))
    if drum == "kick":
        click = _band(noise, rate, 1500, 4000) * np.exp(-t / 0.004) * 0.12 * kit.click
        sound = _strike(t, kit.kick_hz, 3.0, 0.02, kit.kick_s) + click
    elif drum == "snare":
        rattle = _band(noise, rate, 1200, 0.8 * kit.bright) * np.exp(-t / kit.snare_s) * 0.4 * kit.snare_noise
        sound = 0.8 * _strike(t, kit.snare_hz, 0.6, 0.01, 0.06) + rattle
    elif drum == "clap":
        bursts = sum(np.where(t >= at, np.exp(-(t - at) / 0.006), 0.0) for at in (0.0, 0.011, 0.021))
        tail = np.where(t >= 0.03, np.exp(-(t - 0.03) / 0.07), 0.0)
        sound = _band(noise, rate, 900, 3500) * (0.7 * bursts + 0.8 * tail)
    elif drum == "rim":
        sound = _strike(t, 820, 0.0, 1.0, 0.018) + 0.6 * _strike(t, 1730, 0.0, 1.0, 0.012)
    elif drum == "tom":
        sound = _strike(t, 2.2 * kit.kick_hz, 0.5, 0.03, 0.13) + 0.1 * _band(noise, rate, 600, 3000) * np.exp(-t / 0.01)
    elif drum == "ride":
        ring = sum(np.sin(2 * np.pi * hz * t + hz) for hz in (2610, 3170, 4130, 4890, 5570)) / 4
        sound = ring * np.exp(-t / 0.16) + _band(noise, rate, 4000, 7000) * (
            np.exp(-t / 0.02) + 0.25 * np.exp(-t / 0.15)
        )
    else:
        low, high, decay = _NOISES[drum]
        rise = np.minimum(1.0, t / (0.012 if drum == "shaker" else 0.001))
        sound = kit.hat_gain * _band(noise, rate, low, min(high, kit.bright + 1500)) * np.exp(-t / decay) * rise
    # Both ends of the sample meet silence.
    sound *= np.minimum(1.0, t * 2000) * np.minimum(1.0, (t[-1] - t) / 0.05)
    result = (LEVELS[drum] * sound).astype(np.float32)
    result.flags.writeable = False
    return result


@functools.lru_cache(maxsize=4)
def rain(rate: int) -> np.ndarray:
    """A loop of rain, float32 `[RAIN_S x rate]`, read-only, RMS 1: a hiss that swells a little, and drops."""
    rng = np.random.default_rng(11)
    count = round(RAIN_S * rate)
    t = np.arange(count) / rate
    hiss = _band(rng.standard_normal(count), rate, 700, 5000) * (1 + 0.2 * np.sin(2 * np.pi * t / RAIN_S * 3))
    drops = np.zeros(count)
    length = round(0.03 * rate)
    short = np.arange(length) / rate
    for _ in range(round(45 * RAIN_S)):
        start = int(rng.integers(0, count - length))
        hz, level = rng.uniform(900, 4200), rng.uniform(0.5, 3.0)
        drops[start : start + length] += level * np.sin(2 * np.pi * hz * short) * np.exp(-short / 0.005)
    result = hiss + drops
    result = (result / np.sqrt(np.mean(result**2))).astype(np.float32)
    result.flags.writeable = False
    return result
