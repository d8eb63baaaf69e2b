"""A corpus small enough to train on in a second, and parameters to go with it."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musicgen_lite.io.arrays import ArrayStore, ArrayWriter
from musicgen_lite.io.beats import COLUMNS, NO_BEAT
from musicgen_lite.params import Params, parse
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.export import TrainingResult
from musicgen_lite.training.fit import TrainingPaths, fit

SIZE, CODEBOOKS, DIM, FRAMES, PROMPT = 12, 2, 6, 10, 4
# What follows a clip's id in the keys of its texts.
VARIANTS = {"caption": [""], "both": ["/both"], "shuffled": ["/0", "/1"]}
TEXT = {"name": "t", "fingerprint": "text", "dim": DIM, "max_tokens": 4, "variants": {"caption": [""]}}
CODEC = {
    "name": "somebody/codec@0123",
    "fingerprint": "codec",
    "codebook_size": SIZE,
    "num_codebooks": CODEBOOKS,
    "frame_rate": 10.0,
    "rate": 100,
}


def write_store(
    directory: Path,
    arrays: dict[str, np.ndarray],
    dtype: str,
    meta: dict[str, Any],
    beats: dict[str, tuple[float, float]] | None = None,
) -> None:
    """A store whose clips are split by their names: v… are validation, all others training; with `beats` of some clips."""
    directory.mkdir(parents=True)
    writer = ArrayWriter(directory, dtype)
    for key, array in arrays.items():
        columns = {} if beats is None else dict(zip(COLUMNS, beats.get(key, NO_BEAT), strict=True))
        writer.add(key, array, split="validation" if key.startswith("v") else "train", track_id=key, **columns)
    writer.close(meta)


def melodies(length: int, phase: int) -> np.ndarray:
    """Codes `[length, N_q]` that repeat, told apart by their phase."""
    time = np.arange(length)[:, None]
    return (time * (np.arange(CODEBOOKS) + 1) + phase) % SIZE


def write_corpus(
    directory: Path,
    train: int = 10,
    validation: int = 3,
    short: bool = False,
    beats: dict[str, tuple[float, float]] | None = None,
) -> tuple[Path, Path]:
    """Tokens and text of clips of 13 frames, or with `short` of 5 to 13; their text says their phase."""
    ids = [f"t{n:02d}" for n in range(train)] + [f"v{n:02d}" for n in range(validation)]
    lengths = {key: 5 + 4 * n % 9 if short else 13 for n, key in enumerate(ids)}
    targets = {key: melodies(lengths[key], n % 4) for n, key in enumerate(ids)}
    prompts = {key: melodies(PROMPT, n % 4) for n, key in enumerate(ids)}
    texts = {key: np.tile(np.eye(DIM)[n % 4], (1 + n % 3, 1)) for n, key in enumerate(ids)}
    write_store(directory / "tokens" / "target", targets, "uint16", CODEC, beats)
    write_store(directory / "tokens" / "prompt", prompts, "uint16", CODEC)
    write_store(directory / "text", texts, "float16", TEXT)
    return directory / "tokens", directory / "text"


def write_varied_corpus(directory: Path, variants: dict[str, list[str]] = VARIANTS) -> tuple[Path, Path]:
    """The same with short clips, where those for training have the texts of VARIANTS; no two texts are alike."""
    tokens, text = write_corpus(directory, short=True)
    keys = ArrayStore(text).keys
    keys += [
        key + suffix for key in keys if key.startswith("t") for one in VARIANTS.values() for suffix in one if suffix
    ]
    shutil.rmtree(text)
    texts = {key: np.random.default_rng(n).standard_normal((1 + n % 3, DIM)) for n, key in enumerate(keys)}
    write_store(text, texts, "float16", {**TEXT, "variants": variants})
    return tokens, text


def tiny_params(type: str = "a", dropout: float = 0.1, **train: Any) -> Params:
    """The repository's parameters with a tiny model, which is told no beat; `train` replaces values of that section."""
    from ruamel.yaml import YAML

    tree = YAML(typ="safe").load((Path(__file__).parents[2] / "params.yaml").read_text())
    tree["compute"]["device"] = "cpu"
    tree["model"] |= {"type": type, "pattern": "delay"}
    for sizes in (tree["model"]["a"], tree["model"]["b"]):
        sizes |= {"d_model": 16, "layers": 1, "heads": 2, "dropout": dropout, "beat": False}
    tree["train"] |= {
        "steps": 7, "validations": 3, "batch_size": 2, "effective_batch_size": 4, "crop_seconds": 1.0, "patience": 0,
        "learning_rate": 0.01, "keep_best": 2, "precision": "32", **train,
    }  # fmt: skip
    tree["sample"]["seconds"] = 1.0
    return parse(tree)


def paths(directory: Path) -> TrainingPaths:
    """Everything that a training writes, in one directory."""
    return TrainingPaths(
        checkpoints=directory / "checkpoints",
        model=directory / "model.safetensors",
        curves=directory / "curves.json",
        timings=directory / "timings.json",
    )


def run(directory: Path, params: Params, stores: tuple[Path, Path], **options: Any) -> TrainingResult:
    """Train into `directory`, which holds the checkpoints, the model and its curves."""
    options.setdefault("checkpoint_seconds", 60.0)
    result = fit(params, Corpus(*stores), paths(directory), **options)
    assert result is not None
    return result


def state(directory: Path) -> dict[str, torch.Tensor]:
    """All that the last checkpoint holds of the training, flat: weights, averages, moments, schedule, curves."""
    checkpoint = torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)
    found: dict[str, torch.Tensor] = {}

    def walk(name: str, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{name}/{key}", inner)
        elif isinstance(value, list):
            for key, inner in enumerate(value):
                walk(f"{name}/{key}", inner)

    for part in ("state_dict", "current_model_state", "averaging_state", "optimizer_states"):
        walk(part, checkpoint[part])
    return found
