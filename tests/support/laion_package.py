"""What tests/clap/test_laion.py asks of the real laion-clap, in a process of its own: its import takes seconds.

`python -m tests.support.laion_package FOLDER [ARCHITECTURE]…` prints JSON; without any it is HTSAT-tiny. FOLDER has to exist.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musicgen_lite import clap
from musicgen_lite.clap.convert import convert
from musicgen_lite.clap.hub import TransformersClap
from musicgen_lite.clap.laion import offline_and_quiet
from musicgen_lite.clap.scorer import ClapScorer
from tests.support.laion import CAPTIONS, SIZES, in_cache, layout, randomised, save

RATE = 48000
TEXTS = [*CAPTIONS, "", "rain " * 200]


def clips() -> dict[str, np.ndarray]:
    """Noise with a tone that rises, so that no window is like another."""
    random = np.random.default_rng(0)
    at = np.arange(25 * RATE) / RATE
    wave = (random.normal(0, 0.05, len(at)) + 0.2 * np.sin(2 * np.pi * (100 + 60 * at) * at)).astype(np.float32)
    lengths = {"shorter": 3.3, "equal": 10.0, "longer": 25.0}
    return {name: wave[: round(seconds * RATE)] for name, seconds in lengths.items()} | {
        "silent": np.zeros(RATE, np.float32)
    }


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())


def embed(scorer: ClapScorer) -> dict[str, np.ndarray]:
    return {"text": scorer.embed_text(TEXTS)} | {name: scorer.embed_clip(wave, RATE) for name, wave in clips().items()}


def compare(folder: Path, package: Any, size: str, fusion: bool) -> dict[str, Any]:
    """One random checkpoint: the package's own embeddings, ours by the package, and the converted model's."""
    with offline_and_quiet():
        module = package.CLAP_Module(enable_fusion=fusion, device="cpu", amodel=size)
    sizes: dict[str, Any] = {"pieces": len(module.tokenize), "layers": 1, "inner": 64}
    tensors = module.model.state_dict()
    found: dict[str, Any] = {
        "as_laid_out": {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        == layout(*SIZES[size], fusion=fusion, **sizes)
    }
    tensors = randomised(tensors)
    module.model.load_state_dict(tensors)
    folder.mkdir(parents=True)
    digest = save(folder / "laion.pt", tensors)
    older = save(folder / "older.pt", tensors, positions=False)
    ours = clap.load(str(folder / "laion.pt"), trusted=[digest])
    with torch.inference_mode():
        window = torch.from_numpy(clips()["equal"])
        theirs = module.get_audio_embedding_from_data([window], use_tensor=True).numpy()
        their_text = module.get_text_embedding(TEXTS)
    by_package = embed(ours)
    fingerprint = convert(folder / "laion.pt", folder / "converted", [digest])
    converted = clap.load(str(folder / "converted"))
    assert isinstance(converted, TransformersClap)
    by_transformers = embed(converted)
    found |= {
        "origin": {key: ours.origin[key] for key in ("backend", "sha256")}
        == {"backend": "laion-clap", "sha256": digest},
        "same_without_positions": clap.load(str(folder / "older.pt"), trusted=[older]).fingerprint == ours.fingerprint,
        "fingerprint": converted.fingerprint == fingerprint != ours.fingerprint,
        "shape": [list(by_package[name].shape) for name in ("text", "shorter", "equal", "longer")],
        "unit": max(apart(np.linalg.norm(rows, axis=1), np.ones(len(rows))) for rows in by_package.values()),
        "theirs": max(apart(theirs, by_package["equal"]), apart(their_text, by_package["text"])),
        "converted": {name: apart(rows, by_transformers[name]) for name, rows in by_package.items()},
        "spread": {name: apart(by_package[name][0], by_package[name][1]) for name in ("text", "longer")},
    }
    windows = ours.windows(clips()["longer"])
    alone = {
        scorer: np.concatenate([scorer.embed_audio([window]) for window in windows]) for scorer in (ours, converted)
    }
    found["batch"] = max(apart(rows, scorer.embed_audio(windows)) for scorer, rows in alone.items())
    other = type(converted._extractor)(**{**converted._extractor.to_dict(), "frequency_min": 0})
    wrong = TransformersClap(converted._model, other, converted._tokenizer)
    found["other_filters"] = apart(wrong.embed_clip(clips()["equal"], RATE), by_package["equal"])
    return found


def main(folder: Path, sizes: Sequence[str]) -> None:
    # Read when the hub's client is imported, which happens below.
    os.environ["HF_HOME"] = str(folder / "home")
    in_cache(folder / "home")
    begun = time.monotonic()
    with offline_and_quiet():
        import laion_clap
    seconds = time.monotonic() - begun
    found: dict[str, Any] = {"import_s": seconds}
    for size in sizes:
        for kind, fusion in (("unfused", False), ("fused", True)):
            found[f"{size} {kind}"] = compare(folder / size / kind, laion_clap, size, fusion)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ["HTSAT-tiny"])
