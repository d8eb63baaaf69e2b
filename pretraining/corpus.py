"""The corpus of the shipped models: clips of the project's own composer, rendered once.

`python -m pretraining.corpus` writes `pretraining/data/corpus/`: `audio.npy` int16 `[clips + held_out, T]` and
`clips.jsonl`, one line a clip in the same order (seed, held_out, caption, aspects and what else the composer knows).
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import pretraining  # noqa: F401  (puts this tree's src first)
from musicgen_lite.io.files import atomic_dir
from musicgen_lite.io.progress import track

DIRECTORY = Path(__file__).parent / "data" / "corpus"
PARAMS = Path(__file__).parent / "params.yaml"
# A seed, a split and the parameters make float32 samples and what is known of them.
Maker = Callable[[int, str, dict[str, Any]], tuple[np.ndarray, dict[str, Any]]]


def seeds(params: dict[str, Any]) -> tuple[range, range]:
    """Seeds of the training clips and of the held-out clips, which follow them unless they have a first seed too."""
    first, clips, held_out = params["first_seed"], params["clips"], params["held_out"]
    other = params.get("first_held_out", first + clips)
    return range(first, first + clips), range(other, other + held_out)


def composed(seed: int, split: str, params: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """The composer's own rendering of a seed, and what it knows of it."""
    from musicgen_lite.sources import synthetic

    clip = synthetic.clip(seed, split, params["seconds"], params["rate"])
    return clip.samples, {"caption": clip.caption, "aspects": clip.aspects, **clip.extra}


def render(params: dict[str, Any], directory: Path, make: Maker = composed) -> None:
    """Render every clip with `make` into `directory`, whole or not at all."""
    train, held_out = seeds(params)
    length = round(params["seconds"] * params["rate"])
    with atomic_dir(directory) as part, (part / "clips.jsonl").open("w", encoding="utf-8") as lines:
        audio = np.lib.format.open_memmap(
            part / "audio.npy", mode="w+", dtype=np.int16, shape=(len(train) + len(held_out), length)
        )
        for row, seed in enumerate(track([*train, *held_out], "corpus", unit="clip")):
            samples, about = make(seed, "validation" if seed in held_out else "train", params)
            audio[row] = np.clip(np.round(samples * 32767.0), -32768, 32767)
            lines.write(json.dumps({"seed": seed, "held_out": seed in held_out, **about}) + "\n")
        audio.flush()


def load(directory: Path = DIRECTORY) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Memory-mapped audio int16 `[N, T]` (32767 is full scale) and what is known of each clip."""
    lines = (directory / "clips.jsonl").read_text(encoding="utf-8").splitlines()
    return np.load(directory / "audio.npy", mmap_mode="r"), [json.loads(line) for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=PARAMS)
    parser.add_argument("--out", type=Path, default=DIRECTORY)
    arguments = parser.parse_args()
    render(yaml.safe_load(arguments.params.read_text(encoding="utf-8"))["corpus"], arguments.out)


if __name__ == "__main__":
    main()
