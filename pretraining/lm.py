"""Train a shipped language model for a round more: `python -m pretraining.lm a ROUND`.

A round is a training of the library's own (`training.fit`), on the clips that `pretraining.lm_corpus ROUND` wrote, from
where the round before left the model. `models/a.safetensors` and `models/b.safetensors` hold the averaged weights after
the last complete round, in half precision, and `checkpoints/lm/a.json` and `b.json` what each round was. Where the former
is absent, a round goes on from the shipped model; a model of another size begins with round 0 and no record. It trains on a
GPU where there is one. With `--growing` a training reads all rounds from its own on that are written, and those that are
written while it runs: on a GPU, beside processes that compose. A killed call goes on from its last checkpoint; a round that is complete
is not trained again.
"""

import argparse
import copy
import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
import yaml

import pretraining  # noqa: F401  (puts this tree's src first)
from musicgen_lite import models
from musicgen_lite.initial import Initial
from musicgen_lite.io.files import read_json, write_json
from musicgen_lite.io.hashing import file_sha256
from musicgen_lite.params import Params
from musicgen_lite.pretrained import shipped
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.datamodule import TokenData
from musicgen_lite.training.fit import TrainingPaths, fit
from musicgen_lite.training.setup import TrainingSetup
from pretraining.corpus import PARAMS
from pretraining.lm_corpus import DIRECTORY, seeds
from pretraining.lm_rounds import GrowingData

HERE = Path(__file__).parent
MODELS = HERE / "models"
RECORDS = HERE / "checkpoints" / "lm"
WORK = HERE / "data" / "lm-work"
CHECKPOINT_SECONDS = 120.0


def merged(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A tree of parameters with some of its leaves replaced."""
    tree = copy.copy(tree)
    for name, value in changes.items():
        tree[name] = merged(tree[name], value) if isinstance(value, dict) else value
    return tree


def parameters(kind: str, number: int, lm: dict[str, Any]) -> Params:
    """The project's parameters with those of the shipped models; a round is seeded by its number."""
    defaults = yaml.safe_load((HERE.parent / "params.yaml").read_text(encoding="utf-8"))
    lengths = {name: lm["corpus"][name] for name in ("seconds", "prompt_seconds")}
    chosen = {"seed": number, "data": lengths, "model": {"type": kind}}
    return Params.model_validate(merged(merged(defaults, lm["params"]), chosen))


def train(
    kind: str,
    number: int,
    params: dict[str, Any],
    corpora: Path = DIRECTORY,
    places: tuple[Path, Path] = (MODELS, RECORDS),
    work: Path = WORK,
    growing: bool = False,
) -> None:
    """Train round `number` and put the model and the record of its rounds in place of those before."""
    state, record = places[0] / f"{kind}.safetensors", places[1] / f"{kind}.json"
    rounds: list[dict[str, Any]] = read_json(record) if record.is_file() else []
    if len(rounds) != number:
        raise SystemExit(f"{record}: {len(rounds)} rounds are complete, so the next one is {len(rounds)}, not {number}")
    folder, asked = work / f"{kind}-{number:02d}", list[int]()
    signal.signal(signal.SIGTERM, lambda received, _: asked.append(received))
    start = state if state.is_file() else shipped.ROOT / shipped.MODELS / state.name
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    used = [number]

    def batches(setup: TrainingSetup) -> TokenData:
        return GrowingData(setup, corpora, used, folder / "corpora") if growing else TokenData(setup)

    begun, spent = time.monotonic(), time.process_time()
    result = fit(
        parameters(kind, number, params),
        Corpus(corpora / f"{number:02d}" / "tokens", corpora / f"{number:02d}" / "text"),
        TrainingPaths(folder, folder / "model.safetensors", folder / "curves.json", folder / "timings.json"),
        initial=Initial(start.name, start, file_sha256(start)) if rounds else None,
        checkpoint_seconds=CHECKPOINT_SECONDS,
        stop=lambda: bool(asked),
        data=batches,
    )
    assert result is not None
    train_seeds = [seeds(one, params["corpus"])["train"] for one in used]
    rounds.append(
        {
            "seeds": [train_seeds[0].start, train_seeds[-1].stop - 1], "steps": params["params"]["train"]["steps"],
            "effective_batch_size": params["params"]["train"]["effective_batch_size"],
            "val_loss": result.val_loss, "parameters": result.parameters,
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
            "hours": (time.monotonic() - begun) / 3600, "cpu_hours": (time.process_time() - spent) / 3600,
        }
    )  # fmt: skip
    model, extra = models.load(folder / "model.safetensors")
    models.save(state, model.half(), extra)
    write_json(record, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("type", choices=("a", "b"))
    parser.add_argument("round", type=int)
    parser.add_argument("--params", type=Path, default=PARAMS)
    parser.add_argument("--growing", action="store_true", help="read further rounds as they are written")
    parser.add_argument("--corpora", type=Path, default=DIRECTORY, help="where the rounds' folders lie")
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    params = yaml.safe_load(arguments.params.read_text(encoding="utf-8"))["lm"]
    train(arguments.type, arguments.round, params, arguments.corpora, growing=arguments.growing)


if __name__ == "__main__":
    main()
