"""Whether the joins of clips longer than the model's window are audible: sample steps and spectral flux at the joins.

`python -m benchmarks.long_form` takes about 3 minutes on a trained model. For each place in a clip: the largest step from one
sample to the next within 30 ms, and the spectral flux (rise of the log-magnitude spectrum, summed), each as its rank among all
places of the same clip. Ranks at joins without a click are spread evenly: mean 0.5. A click is near 1. Real clips through the
codec, at the same places, say how the grid of places meets the beat.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from musicgen_lite.generation.long import OVERLAP
from musicgen_lite.generator import Generator, load
from musicgen_lite.io.audio import num_frames
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from musicgen_lite.sources import synthetic

PROMPTS = (
    "A fast techno beat with a synth lead.",
    "A relaxing piano melody with rain sounds.",
    "Heavy metal guitar riff.",
    "A slow ambient piece with a warm pad.",
)
CLICK = 0.3  # amplitude of the click that the measure is tried on


def steps(wave: np.ndarray, hop: int) -> np.ndarray:
    """The largest sample difference in each `hop` of `[T]`."""
    difference = np.abs(np.diff(wave, append=wave[-1]))
    return difference[: len(wave) // hop * hop].reshape(-1, hop).max(axis=1)


def flux(wave: np.ndarray, hop: int) -> np.ndarray:
    """Rise of the log-magnitude spectrum at each `hop` of `[T]`."""
    import librosa

    magnitude = np.abs(librosa.stft(wave, n_fft=1024, hop_length=hop))
    rise = np.diff(np.log1p(magnitude), axis=1, prepend=np.log1p(magnitude[:, :1]))
    return rise.clip(0).sum(axis=0)[: len(wave) // hop]


def ranks(values: np.ndarray, places: np.ndarray, reach: int = 1) -> np.ndarray:
    """The rank from 0 to 1 of the largest value near each place, among the largest near every place."""
    near = np.max([np.roll(values, shift) for shift in range(-reach, reach + 1)], axis=0)
    return np.array([(near < near[place]).mean() + (near == near[place]).mean() / 2 for place in places])


def joins(frames: int, window: int, prefix_frames: int) -> np.ndarray:
    """The frames at which a new window starts, in a clip whose first `prefix_frames` frames were given."""
    kept = max(1, round(window * OVERLAP))
    found, done = [prefix_frames] if prefix_frames else [], prefix_frames
    while done < frames:
        overlap = min(done, kept) if done >= window else done
        done += min(window, overlap + frames - done) - overlap
        found.append(done)
    return np.array(found[:-1])


def show(name: str, waves: list[np.ndarray], places: np.ndarray, hop: int, click: float = 0.0) -> None:
    for what, measure in (("sample step", steps), ("spectral flux", flux)):
        found = []
        for wave in waves:
            clicked = wave.copy()
            clicked[places * hop] += click
            found.append(ranks(measure(clicked, hop), places).mean())
        rank = intervals.mean(np.array(found), Bootstrap())
        print(
            f"{name}, {what}: mean rank at {len(places)} joins of {len(waves)} clips {rank.value:.2f} "
            f"({rank.low:.2f} to {rank.high:.2f})",
            flush=True,
        )


def generated(generator: Generator, seconds: float, continued: Path | None, clips: int) -> list[np.ndarray]:
    return [
        generator.generate(prompt, seconds=seconds, continued=continued, candidates=1, seed=seed).samples
        for seed in range(clips)
        for prompt in PROMPTS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("data/model/model.safetensors"))
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--clips", type=int, default=3, help="for each of the four prompts")
    given = parser.parse_args()
    generator = load(given.model, clap="")
    rate, window = generator.codec.frame_rate, generator.model.config.max_frames
    hop = generator.codec.hop
    places = joins(num_frames(given.seconds, generator.codec.rate, rate), window, 0)
    waves = generated(generator, given.seconds, None, given.clips)
    show("sliding window", waves, places, hop)
    real = [synthetic.clip(90_000_000 + number, "test", given.seconds).samples for number in range(len(waves))]
    codes = generator.codec.encode(torch.from_numpy(np.stack(real)))
    show("real clips, codec", list(generator.codec.decode(codes).numpy()), places, hop)
    show(f"sliding window and clicks of {CLICK}", waves, places, hop, CLICK)
    _continued(generator, given.clips, hop)


def _continued(generator: Generator, clips: int, hop: int) -> None:
    """Real clips that the music goes on from: the join between what was recorded and what was made."""
    import tempfile

    from musicgen_lite.io import audio

    window = generator.model.config.max_frames
    waves = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(4 * clips):
            clip = synthetic.clip(90_000_000 + number, "test", 3.0)
            path = Path(folder) / f"{number}.wav"
            audio.write(path, clip.samples, clip.rate)
            music = generator.generate(clip.caption, seconds=4.0, continued=path, candidates=1, seed=number)
            waves.append(music.samples)
    prefix_frames = round(3.0 * generator.codec.frame_rate)
    places = joins(len(waves[0]) // hop, window, prefix_frames)[:1]
    show("a clip continued", waves, places, hop)


if __name__ == "__main__":
    main()
