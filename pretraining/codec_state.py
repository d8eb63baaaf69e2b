"""The state of a codec's training: exact on the machine where it runs, and small enough to be committed."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from musicgen_lite.io.files import atomic_path
from pretraining.codec_training import Training

# Parameters that may change between the parts of one training.
FREE = (
    "stable_steps", "decay_steps", "frozen_fraction", "learning_rate", "final_lr_ratio", "warmup_steps", "save_minutes",
)  # fmt: skip


def _same(path: Path, params: dict[str, Any], training: Training) -> None:
    differing = sorted(
        name
        for name in params.keys() | training.params.keys()
        if name not in FREE and params.get(name) != training.params.get(name)
    )
    if differing:
        raise ValueError(f"{path}: made with other parameters ({', '.join(differing)}); delete it to start anew")


def save(training: Training, path: Path) -> None:
    """Write all from which `load` goes on as if there had been no break."""
    state = {
        "step": training.step, "resumed": training.resumed, "seconds": training.seconds, "params": training.params,
        "model": training.model.state_dict(), "average": training.average.state_dict(),
        "optimizer": training.optimizer.state_dict(),
    }  # fmt: skip
    with atomic_path(path) as part:
        torch.save(state, part)


def load(training: Training, path: Path) -> None:
    """Go on from what `save` wrote. One made with other parameters raises ValueError."""
    state = torch.load(path, weights_only=True)
    _same(path, state["params"], training)
    training.model.load_state_dict(state["model"])
    training.average.load_state_dict(state["average"])
    training.optimizer.load_state_dict(state["optimizer"])
    training.step, training.seconds, training.resumed = state["step"], state["seconds"], state["resumed"]
    _freeze(training)


def pack(training: Training, path: Path) -> None:
    """Write the averaged weights in fp16 and the codebooks in fp32: what `unpack` goes on from."""
    tensors = {
        name: (value if name.startswith("quantizer.") else value.half()).contiguous()
        for name, value in training.average.state_dict().items()
    }
    about = {"step": training.step, "seconds": training.seconds, "rate": training.rate, "params": training.params}
    with atomic_path(path) as part:
        save_file(tensors, part, {"training": json.dumps(about)})
        part.chmod(0o644)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `pack` wrote: step, seconds, rate and params; and the tensors in fp32."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no dict)
        return json.loads(file.metadata()["training"]), tensors


def unpack(training: Training, path: Path) -> None:
    """Go on from what `pack` wrote: from the averaged weights, with a new optimizer that warms up again."""
    about, tensors = read(path)
    _same(path, about["params"], training)
    training.model.load_state_dict(tensors)
    training.average.load_state_dict(tensors)
    training.step = training.resumed = about["step"]
    training.seconds = about["seconds"]
    _freeze(training)


def _freeze(training: Training) -> None:
    if training.step > training.frozen_from:
        training.model.encoder.requires_grad_(False)


def step(path: Path) -> int:
    """The step at which what `save` or `pack` wrote stands; -1 where there is no file."""
    if not path.is_file():
        return -1
    if path.suffix == ".safetensors":
        return int(read(path)[0]["step"])
    return int(torch.load(path, weights_only=True, mmap=True)["step"])
