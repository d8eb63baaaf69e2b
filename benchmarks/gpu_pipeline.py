"""The whole pipeline once on the tests' tiny setting: does it run on a GPU, and are its metrics numbers?

`dvc repro` in a clone of its own with compute.device cuda, train.precision 16-mixed and train.batch_size auto; what each stage
said and how long it took. Without a GPU the same path is walked with train.precision auto.
"""

import csv
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from musicgen_lite.io.samples import SampleStore
from tests.support.project import ENVIRONMENT, Project, create

PRECISION = {"cuda": "16-mixed", "cpu": "auto"}
TRAINS_ON = re.compile(
    r"train: on (?P<device>cpu|cuda)(?P<name> \(.*\))?, precision (?P<precision>\S+), (?P<size>\d+) clips"
)


@dataclass
class Step:
    """One stage as `dvc repro` ran it; `lines`: what it printed."""

    stage: str
    seconds: float = 0.0
    lines: list[str] = field(default_factory=list)


def prepare(project: Project, device: str) -> None:
    """Set the parameters of a smoke run."""
    project.set(compute__device=device, train__precision=PRECISION[device], train__batch_size="auto")


def repro(project: Project, environment: Mapping[str, str] = ENVIRONMENT) -> tuple[int, list[Step]]:
    """Run `dvc repro` and time its stages; also its exit code. What comes before the first stage is a step "dvc"."""
    process = subprocess.Popen(
        ["dvc", "repro"], cwd=project.folder, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    steps, since = [Step("dvc")], time.monotonic()
    for line in process.stdout:
        print(line, end="", flush=True)
        if found := re.match(r"Running stage '(\w+)'", line):
            steps.append(Step(found[1]))
            since = time.monotonic()
        steps[-1].lines.append(line.rstrip("\n"))
        steps[-1].seconds = time.monotonic() - since
    return process.wait(), steps


def text(steps: list[Step]) -> str:
    """All that was printed."""
    return "\n".join(line for step in steps for line in step.lines)


def faults(project: Project, device: str, output: str) -> list[str]:
    """What is wrong with a finished run that printed `output`; nothing if all is well."""
    found = _training(output, device)
    timings = json.loads((project.folder / "data/run/timings.json").read_text())
    if any(("peak_gpu_memory_mb" in row) != (device == "cuda") for row in timings):
        found.append(f"the training did not take place on {device}, by what its timings say of a GPU's memory")
    with (project.folder / "metrics/curves.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            measured = {name: value for name, value in row.items() if value}
            found += [
                f"curves.csv, step {row['step']}: {name} is {value}"
                for name, value in measured.items()
                if not _finite(value)
            ]
    for path in sorted(project.folder.glob("metrics/*.json")):
        scores = json.loads(path.read_text())
        found += [f"{path.name}: {name} is {value}" for name, value in scores.items() if not _finite(value)]
    samples = SampleStore(project.folder / "data/samples")
    for one in samples.samples:
        wave = samples.wave(one.kind, one.prompt_id, one.candidate)[0]
        if not (np.isfinite(wave).all() and np.any(wave)):
            found.append(f"sample {one.candidate} of {one.prompt_id} ({one.kind}) is silent or not finite")
    if [status for _, status in project.runs()] != ["FINISHED"]:
        found.append(f"runs in MLflow: {project.runs()}, where one FINISHED was expected")
    return found


def _training(output: str, device: str) -> list[str]:
    """What is wrong with the line in which a training says what it runs on."""
    said = next(filter(None, map(TRAINS_ON.match, output.splitlines())), None)
    if said is None:
        return ["the training did not say what it runs on"]
    wrong = said["device"] != device or (device == "cuda" and said["precision"] != PRECISION[device])
    return [f"the training ran otherwise than asked for: {said[0]}"] if wrong else []


def _finite(value: str | float) -> bool:
    return math.isfinite(float(value))


def summary(steps: list[Step]) -> str:
    """A line a stage: its seconds, and the last thing that it said of itself."""
    lines = [f"{'stage':12} {'seconds':>8}"]
    for step in steps[1:]:
        told = [line for line in step.lines if TRAINS_ON.match(line)]
        lines.append(f"{step.stage:12} {step.seconds:8.1f}  {' '.join(told).removeprefix('train: ')}".rstrip())
    return "\n".join(lines)


def smoke(device: str) -> int:
    """Run the pipeline in a clone and report; 0 if all is well, else 1."""
    with tempfile.TemporaryDirectory() as place:
        project = create(Path(place))
        prepare(project, device)
        code, steps = repro(project)
        found = [f"dvc repro ended with {code}"] if code else faults(project, device, text(steps))
        scores = {path.name: json.loads(path.read_text()) for path in sorted(project.folder.glob("metrics/*.json"))}
    print(f"\n{summary(steps)}")
    for name, values in scores.items():
        print(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in values.items()))
    for fault in found:
        print(f"wrong: {fault}", file=sys.stderr)
    print("smoke: " + (f"{len(found)} faults" if found else f"all well on {device}"))
    return int(bool(found))
