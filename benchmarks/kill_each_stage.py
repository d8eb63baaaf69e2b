"""Kill the pipeline with SIGKILL at a random moment of every stage, run it again, and compare with an unbroken run.

`python -m benchmarks.kill_each_stage` takes about 15 minutes: two projects of the tests' tiny setting, one of which
runs through, while the other one is killed in each stage in turn. Equal digests of every output in dvc.lock mean that
no half-written output was taken for a whole one. A table says when each stage was killed and what came after.
"""

import argparse
import os
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from ruamel.yaml import YAML

from tests.support.project import ENVIRONMENT, Project, create

# What differs between two runs of one result: the row's own id, times, and the page and pictures with them inside.
UNIQUE = {"data/run", "data/report"}
ATTEMPTS = 4


def digests(project: Project) -> dict[str, str]:
    """MD5 of every output in dvc.lock, but for those that name their own run."""
    lock = YAML(typ="safe").load((project.folder / "dvc.lock").read_text())
    outs = [out for stage in lock["stages"].values() for out in stage.get("outs", [])]
    return {out["path"]: out["md5"] for out in outs if out["path"] not in UNIQUE}


def timed(project: Project, stage: str) -> float:
    """Run one stage, whose inputs are there; its seconds."""
    start = time.monotonic()
    project.run("dvc", "repro", "-s", stage)
    return time.monotonic() - start


def killed(project: Project, stage: str, after: float) -> bool:
    """Run one stage and kill it and everything it started `after` seconds into it; False if it had ended by then."""
    process = subprocess.Popen(
        ["dvc", "repro", "-s", stage], cwd=project.folder, env=ENVIRONMENT, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(f"Running stage '{stage}'"):
            break
    try:
        process.wait(after)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which stages are killed")
    rng = random.Random(parser.parse_args().seed)
    with tempfile.TemporaryDirectory() as place:
        folders = [Path(place) / name for name in ("unbroken", "killed")]
        for folder in folders:
            folder.mkdir()
        whole, broken = map(create, folders)
        stages = YAML(typ="safe").load((whole.folder / "dvc.yaml").read_text())["stages"]
        print(f"{'stage':12} {'seconds':>8} {'killed after':>13}  run again")
        for stage in stages:
            seconds = timed(whole, stage)
            moment, hit = 0.0, False
            for _ in range(ATTEMPTS):
                moment = rng.uniform(0.0, 0.8 * seconds)
                if hit := killed(broken, stage, moment):
                    break
            again = timed(broken, stage)
            print(f"{stage:12} {seconds:8.1f} {moment if hit else float('nan'):13.1f}  {again:.1f} s", flush=True)
        same = digests(whole) == digests(broken)
        runs = broken.runs()
        print(f"outputs equal to the unbroken run's: {same}; runs in MLflow: {runs}")
        if not same or [status for _, status in runs] != ["FINISHED"]:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
