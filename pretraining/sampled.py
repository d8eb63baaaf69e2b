"""Further music for the codec: compositions of the project's composer, played by a sampled General MIDI SoundFont.

Programs, mix, tuning, tempo, tone, room and level of each clip are drawn from its seed, so that the codec hears
recorded instruments in many settings. `python -m pretraining.sampled` writes `pretraining/data/sampled/`, laid out as
the corpus is. It needs FluidR3 (MIT) and FluidSynth: Debian's `fluid-soundfont-gm` and `libfluidsynth3`, and
`pip install pyfluidsynth`. Nothing of the SoundFont is shipped.
"""

import argparse
import functools
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import pretraining  # noqa: F401  (puts this tree's src first)
from musicgen_lite.io import audio
from musicgen_lite.sources import synthetic
from pretraining import corpus

DIRECTORY = corpus.DIRECTORY.parent / "sampled"
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
RATE = 44100  # of the SoundFont's samples
DRUM_CHANNEL, DRUM_BANK = 9, 128
KITS = (0, 8, 16, 24, 25, 32, 40, 48)
BASSES = range(32, 40)
PITCHED = range(112)  # the programs above are percussion and effects
LEAD_S = 1.0  # of music before the clip's start, so that notes ring into it

Event = tuple[float, str, tuple[int, ...]]  # seconds, a method of the synthesizer, its arguments


class MissingSynthesizer(Exception):
    """The SoundFont, the FluidSynth library or its Python binding is not installed."""


def synthesizer() -> tuple[Any, int]:
    """A new FluidSynth at 44.1 kHz with FluidR3 loaded, without effects, and the number of the font."""
    if not SOUNDFONT.is_file():
        raise MissingSynthesizer(f"{SOUNDFONT} is absent: install Debian's package fluid-soundfont-gm")
    try:
        import fluidsynth
    except (ImportError, OSError) as error:
        raise MissingSynthesizer(
            f"FluidSynth is absent ({error}): install Debian's package libfluidsynth3, and pyfluidsynth with pip"
        ) from error
    settings = {"synth.reverb.active": 0, "synth.chorus.active": 0}
    synth = fluidsynth.Synth(gain=0.3, samplerate=RATE, channels=16, **settings)
    return synth, synth.sfload(str(SOUNDFONT))


@functools.lru_cache(maxsize=1)
def keep_loaded() -> Any:
    """A synthesizer that stays, for as long as which FluidSynth keeps the SoundFont's samples in memory."""
    return synthesizer()


def arrange(seed: int, seconds: float) -> list[Event]:
    """What the synthesizer is told for the clip of a seed: some of its composer's parts by random programs.

    Tempo, key and timing leave the composer's grid; parts may be silent, or doubled by a second program.
    """
    random = np.random.default_rng((seed, 0))
    stretch = random.uniform(0.8, 1.3)
    piece = synthetic.compose(seed, (seconds + LEAD_S) / stretch)
    transpose = int(random.integers(-6, 7))
    kept = [name for name in piece.instruments if random.random() < 0.85] or list(piece.instruments[:1])
    voices = [(name, double) for name in kept for double in range(1 + (name != piece.drums and random.random() < 0.3))]
    events: list[Event] = []
    channels = [channel for channel in range(16) if channel != DRUM_CHANNEL]
    for (name, _), free in zip(voices, channels, strict=False):
        drums = name == piece.drums
        programs = KITS if drums else BASSES if name == piece.bass and random.random() < 0.7 else PITCHED
        channel, program = DRUM_CHANNEL if drums else free, int(random.choice(programs))
        shift = 0 if drums else transpose + 12 * int(random.choice((-1, 0, 0, 0, 1)))
        held, loose = random.uniform(0.6, 1.3), random.uniform(0.0, 0.012)
        events.append((0.0, "program", (channel, DRUM_BANK if drums else 0, program)))
        events.append((0.0, "cc", (channel, 7, int(random.integers(64, 128)))))  # volume
        events.append((0.0, "cc", (channel, 1, int(random.integers(0, 64)) * int(random.random() < 0.3))))  # vibrato
        events.append((0.0, "pitch_bend", (channel, 0 if drums else int(random.integers(-1500, 1501)))))  # ± 37 cents
        for note in piece.notes:
            if note.track == name:
                pitch = int(np.clip(note.pitch + shift, 21, 108))
                start = max(0.0, stretch * note.start_s + loose * random.standard_normal())
                end = start + max(0.03, stretch * note.duration_s * held)
                velocity = int(np.clip(note.velocity + random.normal(0.0, 8.0), 15, 127))
                events.append((start, "noteon", (channel, pitch, velocity)))
                events.append((end, "noteoff", (channel, pitch)))
    return sorted(events, key=lambda event: (event[0], event[1] not in ("program", "cc", "pitch_bend"), event[1:]))


def play(events: list[Event], seconds: float) -> np.ndarray:
    """The mono sound of the events, float32 `[seconds x 44100]`."""
    keep_loaded()
    synth, font = synthesizer()  # a new one each time: no state of the clip before
    total, done = round(seconds * RATE), 0
    blocks: list[np.ndarray] = []
    for time, name, arguments in events:
        count = min(total, round(time * RATE)) - done
        if count > 0:
            blocks.append(synth.get_samples(count))
            done += count
        if name == "program":
            synth.program_select(arguments[0], font, *arguments[1:])
        else:
            getattr(synth, name)(*arguments)
    blocks.append(synth.get_samples(total - done))
    synth.delete()
    stereo = np.concatenate(blocks).reshape(-1, 2).astype(np.float32)
    return stereo.mean(1) / 32768.0


def room(random: np.random.Generator, rate: int) -> np.ndarray:
    """A random impulse response: the direct sound, and a darkened noise that dies away in 0.2 to 2 s."""
    t = np.arange(round(1.2 * rate)) / rate
    tail = random.standard_normal(len(t)) * 10.0 ** (-3.0 * t / 10.0 ** random.uniform(-0.7, 0.3))
    tail *= t > random.uniform(0.002, 0.03)
    tail = np.convolve(tail, np.ones(random.integers(1, 6)), mode="same")
    tail *= 10.0 ** (random.uniform(-24.0, -3.0) / 20.0) / np.sqrt(np.sum(tail**2))
    tail[0] += 1.0
    return tail


def equaliser(random: np.random.Generator, hertz: np.ndarray) -> np.ndarray:
    """A random gain of each frequency: a smooth curve, and sometimes a low or a high cut."""
    anchors = np.log2([40.0, 120.0, 360.0, 1000.0, 2500.0, 5000.0, 8000.0])
    gain = 10.0 ** (np.interp(np.log2(hertz + 1.0), anchors, random.normal(0.0, 3.5, len(anchors))) / 20.0)
    if random.random() < 0.3:
        gain = gain / np.sqrt(1.0 + (hertz / random.uniform(2500.0, 7000.0)) ** 8)
    if random.random() < 0.3:
        ratio = (hertz / random.uniform(40.0, 200.0)) ** 4
        gain = gain * np.sqrt(ratio / (1.0 + ratio))
    return gain


def produce(dry: np.ndarray, seed: int, rate: int) -> np.ndarray:
    """Room, tone, drive, noise and level of the seed: float32 of the length of `dry`, below full scale."""
    random = np.random.default_rng((seed, 1))
    size = 2 ** int(np.ceil(np.log2(len(dry) + 1.2 * rate + 1)))
    spectrum = np.fft.rfft(dry, size) * equaliser(random, np.fft.rfftfreq(size, 1.0 / rate))
    if random.random() < 0.6:
        spectrum *= np.fft.rfft(room(random, rate), size)
    wave = np.fft.irfft(spectrum, size)[: len(dry)]
    wave = (wave - wave.mean()) / max(1e-4, float(np.std(wave)))
    if random.random() < 0.25:
        drive = random.uniform(0.3, 1.5)
        wave = np.tanh(drive * wave) / drive
    if random.random() < 0.3:
        wave += 10.0 ** (random.uniform(-50.0, -25.0) / 20.0) * random.standard_normal(len(wave))
    wave *= 10.0 ** (random.uniform(-30.0, -14.0) / 20.0)
    return np.asarray(0.95 * np.tanh(wave / 0.95), np.float32)


def clip(seed: int, _: str, params: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """The clip of a seed, float32 `[T]`, and the programs (channel, bank, program) that play in it."""
    seconds, rate = params["seconds"], params["rate"]
    events = arrange(seed, seconds)
    wave = audio.resample(play(events, seconds + LEAD_S), RATE, rate)
    programs = [arguments for _, name, arguments in events if name == "program"]
    return produce(wave, seed, rate)[-round(seconds * rate) :], {"programs": programs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=corpus.PARAMS)
    parser.add_argument("--out", type=Path, default=DIRECTORY)
    arguments = parser.parse_args()
    params = yaml.safe_load(arguments.params.read_text(encoding="utf-8"))["sampled"]
    keep_loaded()
    corpus.render(params, arguments.out, clip)


if __name__ == "__main__":
    main()
