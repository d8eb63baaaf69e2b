"""What fadtk, kadtk, frechet-audio-distance and torchvggish give for stated arrays: what tests hold `score.protocols` against.

`python -m benchmarks.fad_tools` makes an environment of their own, `.venv-fad-tools` (numpy 1, transformers 4; the lock is fad_tools.txt),
runs them there, and writes tests/scoring/audio/fad_tools.json. Python 3.11 is needed. The arrays come from seeds, elementwise, so that they are the
same bits everywhere; the file holds their digests. `--lock` resolves fad_tools.in anew.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
LOCK, VENV = ROOT / "benchmarks" / "fad_tools.txt", ROOT / ".venv-fad-tools"
FOUND = ROOT / "tests" / "scoring" / "audio" / "fad_tools.json"
TOOLS = ("fadtk", "kadtk", "frechet-audio-distance", "torchvggish", "julius", "numpy", "scipy", "torch")
WINDOWS, DIM, SEED = 12, 16, 7
RATE, VGGISH_RATE = 1000, 16000
RESAMPLED = (32000, 44100)
# The tensors of VGGish by torchvggish's names, with the number of inputs of each of their outputs.
CONVOLUTIONS = {0: (64, 1), 3: (128, 64), 6: (256, 128), 8: (256, 256), 11: (512, 256), 13: (512, 512)}
LAYERS = {0: (4096, 12288), 2: (4096, 4096), 4: (128, 4096)}


def clips(seed: int, count: int, shift: float) -> np.ndarray:
    """Embeddings of clips `[count, WINDOWS, DIM]` in half precision: windows of a clip are alike, dimensions have a part in common."""
    rng = np.random.default_rng(seed)
    rows = 0.05 * rng.standard_normal((count, WINDOWS, DIM)) * np.linspace(0.5, 1.5, DIM)
    common = rng.standard_normal((count, WINDOWS, 1)) * np.linspace(0.0, 0.04, DIM)
    return (rows + common + 0.05 * rng.standard_normal((count, 1, DIM)) + shift).astype(np.float16)


def reference() -> np.ndarray:
    """The stated reference."""
    return clips(1, 60, 0.0)


def evaluated() -> np.ndarray:
    """The stated clips to score."""
    return clips(2, 50, 0.02)


def recording(rate: int, seconds: float, seed: int) -> np.ndarray:
    """A stated 16-bit recording `[T]`, with samples at both ends of the scale."""
    wave = np.random.default_rng(seed).integers(-20000, 20001, round(seconds * rate)).astype(np.int16)
    wave[[1, 5]] = -32768, 32767
    return wave


def vggish_weights() -> dict[str, np.ndarray]:
    """Stated weights for VGGish, which carry the size of their input on."""
    rng, found = np.random.default_rng(5), dict[str, np.ndarray]()
    shapes = {f"features.{i}": (out, into, 3, 3) for i, (out, into) in CONVOLUTIONS.items()}
    for name, shape in (shapes | {f"embeddings.{i}": pair for i, pair in LAYERS.items()}).items():
        spread = np.float32(np.sqrt(2 / np.prod(shape[1:])))
        found[f"{name}.weight"] = spread * rng.standard_normal(shape, dtype=np.float32)
        found[f"{name}.bias"] = np.float32(0.1) * rng.standard_normal(shape[0], dtype=np.float32)
    return found


def heard(chunk: np.ndarray) -> list[float]:
    """The embedding that a stand-in for CLAP gives of a window `[T]`: it tells where the window lies and how it is rounded."""
    return [float(chunk[0]), float(chunk[len(chunk) // 2]), float(chunk[-1]), float(np.abs(chunk[:100]).max())]


def digest(array: np.ndarray) -> str:
    """Of the values of an array."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def _store(folder: Path, model: str, sets: np.ndarray) -> Path:
    """Clips as fadtk and kadtk keep them: a file each, here an empty one, and its embeddings beside it."""
    (folder / "embeddings" / model).mkdir(parents=True)
    for number, rows in enumerate(sets):
        (folder / f"{number:03d}.wav").touch()
        np.save(folder / "embeddings" / model / f"{number:03d}.npy", rows)
    return folder


class Named:
    """All that the distances ask of a model: its name; and what loading does, its rate and how it reads a file."""

    name = "stated"
    sr: int
    load_wav: Any


class Hearing:
    """A stand-in for the module of laion_clap."""

    def get_audio_embedding_from_data(self, x: Any, use_tensor: bool) -> Any:
        import torch

        return torch.tensor([heard(x[0].numpy())])


def by_fadtk(folder: Path) -> dict[str, Any]:
    """FAD, FAD-infinity and FAD of each clip by fadtk's own classes, and the rows that its CLAP makes of a file."""
    import soundfile
    import torch
    from fadtk.fad import FrechetAudioDistance
    from fadtk.model_loader import CLAPLaionModel

    base, own = _store(folder / "reference", Named.name, reference()), _store(folder / "own", Named.name, evaluated())
    tool = FrechetAudioDistance(Named(), audio_load_worker=1, load_model=False)
    np.random.seed(SEED)  # noqa: NPY002 — the tool draws from this one
    infinity = tool.score_inf(base, sorted((own / "embeddings" / Named.name).glob("*.npy")))
    table = tool.score_individual(base, own, folder / "each.csv").read_text().splitlines()
    each = dict(line.split(",") for line in table)
    model = object.__new__(CLAPLaionModel)
    model.sr, model.min_len, model.device, model.model = RATE, -1, torch.device("cpu"), Hearing()
    soundfile.write(folder / "heard.wav", recording(RATE, 12.3, 3), RATE, subtype="PCM_16")
    return {
        "fad": float(tool.score(base, own)),
        "infinity": infinity.score,
        "points": [[int(n), float(value)] for n, value in infinity.points],
        "each": [float(each[str(own / f"{number:03d}.wav")]) for number in range(len(evaluated()))],
        "rows": model.get_embedding(model.load_wav(folder / "heard.wav")).astype(float).tolist(),
    }


def by_kadtk(folder: Path) -> dict[str, Any]:
    """KAD by kadtk's own class, and the median distances of both sets."""
    import torch
    from kadtk.kad import KernelAudioDistance, median_pairwise_distance

    base, own = _store(folder / "reference", Named.name, reference()), _store(folder / "own", Named.name, evaluated())
    found = KernelAudioDistance(Named(), "cpu", audio_load_worker=1).score(base, own)
    medians = [median_pairwise_distance(torch.tensor(one.reshape(-1, DIM))) for one in (reference(), evaluated())]
    return {"kad": float(found), "median_of_reference": medians[0], "median_of_evaluated": medians[1]}


def by_frechet_audio_distance() -> dict[str, float]:
    """FAD by the formula of frechet-audio-distance; laion-clap, which asks the hub for tokenizers at its import, is not needed."""
    sys.modules["laion_clap"] = ModuleType("laion_clap")
    from frechet_audio_distance import FrechetAudioDistance

    tool = object.__new__(FrechetAudioDistance)
    sets = [
        tool.calculate_embd_statistics(one.reshape(-1, DIM).astype(np.float32)) for one in (reference(), evaluated())
    ]
    return {"fad": float(tool.calculate_frechet_distance(*sets[0], *sets[1]))}


def by_torchvggish() -> dict[str, Any]:
    """The log-mel frames of a recording and their embeddings before the last activation, with the stated weights."""
    import torch
    from torchvggish import torchvggish, vggish_input

    wave = recording(VGGISH_RATE, 3.3, 4) / 32768.0
    frames = vggish_input.waveform_to_examples(wave, VGGISH_RATE, return_tensor=False)
    model = torchvggish.VGG(torchvggish.make_layers(), postprocess=False)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in vggish_weights().items()})
    model.embeddings = model.embeddings[:-1]
    with torch.no_grad():
        rows = model(torch.tensor(frames)[:, None].float()).numpy()
    return {"frames": frames[:, ::16, ::8].tolist(), "rows": rows[:, ::8].astype(float).tolist()}


def by_resamplers(folder: Path) -> dict[str, list[float]]:
    """A recording at other rates, as fadtk has torchaudio and audiocraft has julius resample it; its reading and writing are soundfile's here."""
    import julius
    import soundfile
    import torch
    import torchaudio
    from fadtk.fad import FrechetAudioDistance

    saved = list[Any]()

    def load(path: str, backend: str) -> tuple[Any, int]:
        wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
        return torch.from_numpy(wave.T), rate

    def save(path: str, wave: Any, rate: int, **_: Any) -> None:
        saved.append(wave[0])
        soundfile.write(path, wave[0].numpy(), rate, subtype="PCM_16")

    torchaudio.load, torchaudio.save = load, save
    model = Named()
    model.sr, model.load_wav = 48000, lambda path: None
    tool = FrechetAudioDistance(model, audio_load_worker=1, load_model=False)
    found = {}
    for rate in RESAMPLED:
        soundfile.write(folder / f"{rate}.wav", recording(rate, 0.01, 6), rate, subtype="PCM_16")
        tool.load_audio(folder / f"{rate}.wav")
        found[f"torchaudio {rate}"] = saved[-1][::3].double().tolist()
        wave = torch.from_numpy(recording(rate, 0.01, 6) / 32768.0).float()
        found[f"julius {rate}"] = julius.resample_frac(wave, rate, 16000).double().tolist()
    return found


def measured() -> dict[str, Any]:
    """Everything, by the tools of this environment."""
    arrays = {"reference": reference(), "evaluated": evaluated(), "heard": recording(RATE, 12.3, 3)}
    arrays |= {"vggish": recording(VGGISH_RATE, 3.3, 4), "vggish_weights": vggish_weights()["embeddings.4.weight"]}
    with (
        tempfile.TemporaryDirectory() as one,
        tempfile.TemporaryDirectory() as other,
        tempfile.TemporaryDirectory() as third,
    ):
        return {
            "versions": {name: version(name) for name in TOOLS},
            "digests": {name: digest(array) for name, array in arrays.items()},
            "fadtk": by_fadtk(Path(one)),
            "kadtk": by_kadtk(Path(other)),
            "frechet-audio-distance": by_frechet_audio_distance(),
            "torchvggish": by_torchvggish(),
            "resamplers": by_resamplers(Path(third)),
        }


def _rounded(found: Any) -> Any:
    """Numbers to 8 significant digits."""
    if isinstance(found, Mapping):
        return {name: _rounded(one) for name, one in found.items()}
    if isinstance(found, Sequence) and not isinstance(found, str):
        return [_rounded(one) for one in found]
    return float(f"{found:.8g}") if isinstance(found, float) else found


def _uv(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "uv", *arguments], check=True, cwd=ROOT)


def lock() -> None:
    """Resolve fad_tools.in, without the packages that the distances do not need."""
    given, without = (str(LOCK.with_name(name)) for name in ("fad_tools.in", "fad_tools-overrides.txt"))
    _uv(
        "pip", "compile", "-q", "--no-config", "--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header",
        "--override", without, given, "-o", str(LOCK),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lock", action="store_true", help="resolve the environment anew first")
    parser.add_argument("--inside", action="store_true", help="measure by the tools of this environment")
    given = parser.parse_args()
    if given.inside:
        FOUND.write_text(json.dumps(_rounded(measured()), indent=1) + "\n", encoding="utf-8")
        return
    if given.lock:
        lock()
    _uv("venv", "-q", "--allow-existing", "--python", "3.11", str(VENV))
    _uv(
        "pip",
        "install",
        "-q",
        "--require-hashes",
        "--no-deps",
        "--python",
        str(VENV / "bin" / "python"),
        "-r",
        str(LOCK),
    )
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [VENV / "bin" / "python", "-m", "benchmarks.fad_tools", "--inside"], check=True, cwd=ROOT, env=offline
    )
    print(f"{FOUND}: {json.loads(FOUND.read_text(encoding='utf-8'))['versions']}")


if __name__ == "__main__":
    main()
