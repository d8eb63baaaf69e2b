"""What CLAP is trained on: `python -m pretraining.clap_features clap` renders clips and caches their log-mel spectrograms.

Into `pretraining/data/clap/`: `audio.npy` and `clips.jsonl` as the codec's corpus has them, of other seeds. Into
`pretraining/data/clap-mels/`: `mels.npy` float16 `[2, N, frames, mels]` in dB, of the clips as they are and through the codec.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

import pretraining  # noqa: F401  (puts this tree's src first)
from musicgen_lite import codec
from musicgen_lite.codec import Codec
from musicgen_lite.io.files import atomic_path
from musicgen_lite.io.progress import track
from pretraining import corpus

HERE = Path(__file__).parent
DATA = HERE / "data"
CODEC = HERE / "models" / "codec"
FULL_SCALE = 32767.0
MODELS = ("clap", "clap_judge")
BATCH = 8


def read_params(path: Path, name: str) -> dict[str, Any]:
    """Section `clap` of the parameters, with what sets the model `name` apart from the other one."""
    params = yaml.safe_load(path.read_text(encoding="utf-8"))["clap"]
    return {**params, **params["models"][name]}


def extractor(params: dict[str, Any]) -> Any:
    """The feature extractor that is saved with the model: without fusion, short audio repeated."""
    from transformers import ClapFeatureExtractor

    return ClapFeatureExtractor(
        feature_size=params["mels"],
        sampling_rate=params["rate"],
        hop_length=params["hop"],
        max_length_s=params["window_s"],
        fft_window_size=params["n_fft"],
        frequency_min=params["frequency_min"],
        frequency_max=params["frequency_max"],
        truncation="rand_trunc",
        padding="repeatpad",
    )


def waves(rows: np.ndarray) -> np.ndarray:
    """int16 to float32 in [-1, 1]."""
    return rows.astype(np.float32) / FULL_SCALE


@torch.inference_mode()
def through(coder: Codec, samples: np.ndarray) -> np.ndarray:
    """`[B, T]` encoded and decoded again, as long as before."""
    return coder.decode(coder.encode(torch.from_numpy(samples)))[:, : samples.shape[1]].numpy()


def write_mels(audio: np.ndarray, coder: Codec, params: dict[str, Any], path: Path) -> None:
    """Cache the spectrograms of int16 `audio` `[N, T]`, as it is and through `coder`, whole or not at all."""
    mel = extractor(params)
    frames = audio.shape[1] // params["hop"] + 1
    with atomic_path(path) as part:
        out = np.lib.format.open_memmap(
            part, mode="w+", dtype=np.float16, shape=(2, len(audio), frames, params["mels"])
        )
        for start in track(range(0, len(audio), BATCH), f"mels of {path.parent.name}", unit=f"x{BATCH} clips"):
            clean = waves(audio[start : start + BATCH])
            for kind, batch in enumerate((clean, through(coder, clean))):
                features = mel(list(batch), sampling_rate=params["rate"], max_length=audio.shape[1])
                out[kind, start : start + len(batch)] = np.stack(features["input_features"])[:, 0]
        out.flush()


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that caching and training share."""
    shared = argparse.ArgumentParser(description=description)
    shared.add_argument("name", choices=MODELS)
    shared.add_argument("--params", type=Path, default=HERE / "params.yaml")
    shared.add_argument("--data", type=Path, default=DATA)
    shared.add_argument("--codec", default=str(CODEC), help="the codec's directory")
    return shared


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--render", action="store_true", help="render the clips instead of caching their spectrograms")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    params = read_params(arguments.params, arguments.name)
    rendered = arguments.data / arguments.name
    if arguments.render:
        corpus.render(params, rendered)
        return
    audio, _ = corpus.load(rendered)
    coder = codec.load(arguments.codec, num_codebooks=params["num_codebooks"])
    write_mels(audio, coder, params, arguments.data / f"{arguments.name}-mels" / "mels.npy")


if __name__ == "__main__":
    main()
