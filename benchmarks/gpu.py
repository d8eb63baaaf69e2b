"""Everything that wants a GPU, in one command: checks, speed beside transformers, and the whole pipeline.

`python -m benchmarks.gpu` checks that the GPU computes in float32 what a CPU does, runs `dvc repro` on the tests' tiny
setting (16-mixed, batch_size auto; no metric is NaN), measures generation and training at MusicGen-small's size beside
transformers, and writes the table to --table. --smoke: the pipeline alone. It exits with 1 where something is wrong and with 2
where there is no GPU. `--device cpu` walks the same path without one, with sizes whose speed says nothing.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import torch

from benchmarks import gpu_checks, gpu_pipeline, gpu_speed

NOT_MEASURED = "Tiny sizes on a CPU: this tries the command, and says nothing of a GPU."


def table(device: str, lines: list[str], rows: list[gpu_speed.Row]) -> str:
    """The results as Markdown."""
    where = torch.cuda.get_device_name() if device == "cuda" else NOT_MEASURED
    results = "\n".join(f"| {name} | {value} |" for name, value in rows)
    checks = "\n".join(f"- {line}" for line in lines)
    return f"{where}\ntorch {torch.__version__}\n\n{checks}\n\n| measured | result |\n|---|---|\n{results}\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="run the tiny pipeline alone")
    parser.add_argument(
        "--device", choices=list(gpu_speed.SIZES), default="cuda", help="cpu: the same path without a GPU"
    )
    parser.add_argument("--table", type=Path, default=Path("gpu.md"), help="where to write the results")
    parser.add_argument("--frames", type=int, help="that are generated; on a GPU 500 if not given")
    parser.add_argument("--repeats", type=int, help="of each measurement, of which the median is shown")
    parser.add_argument("--no-pipeline", action="store_true", help="checks and speed alone")
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        print("error: torch sees no GPU here; --device cpu walks the same path without one", file=sys.stderr)
        return 2
    if given.smoke:
        return gpu_pipeline.smoke(given.device)
    faults, lines = gpu_checks.equality(given.device)
    print("\n".join(lines), flush=True)
    chosen = {name: value for name in ("frames", "repeats") if (value := getattr(given, name))}
    size, rows = dataclasses.replace(gpu_speed.SIZES[given.device], **chosen), list[gpu_speed.Row]()
    for row in gpu_speed.measure(given.device, size):
        print(f"{row[0]}: {row[1]}", flush=True)
        rows.append(row)
        # Written each time: what is measured stays, also where a later row never ends.
        given.table.write_text(table(given.device, lines, rows), encoding="utf-8")
    for fault in faults:
        print(f"wrong: {fault}", file=sys.stderr)
    failed = 0 if given.no_pipeline else gpu_pipeline.smoke(given.device)
    return int(bool(faults) or failed)


if __name__ == "__main__":
    raise SystemExit(main())
