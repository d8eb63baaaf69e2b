"""Two generations at once, each with all threads, in this tree and in that of another commit.

`git worktree add OTHER COMMIT && python -m benchmarks.side_by_side OTHER` takes about five minutes. Each generation is a process that makes
250 frames with one item of a random model (d 512, 8 layers, guidance), as two people do who share a machine. The trees take turns; what
counts is the time until both are done, without imports and compilation.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent.parent
# Both trees have these functions; a first generation compiles, and a line on standard input begins the second.
GENERATION = """
import sys, time, torch
from benchmarks.generation import build, ours
from musicgen_lite.generation import prepare
frames, weights = int(sys.argv[1]), sys.argv[2]
model = build("delay", frames)
decoder = prepare(model, weights)
ours(model, 1, 10, decoder)
print("ready", flush=True)
sys.stdin.readline()
begin = time.perf_counter()
ours(model, 1, frames, decoder)
print(time.perf_counter() - begin, flush=True)
"""


def at_once(tree: Path, processes: int, frames: int, weights: str) -> float:
    """Seconds until the last of the generations is done."""
    environment = os.environ | {"PYTHONPATH": f"{tree / 'src'}{os.pathsep}{tree}"}
    command = [sys.executable, "-c", GENERATION, str(frames), weights]
    begun = [
        subprocess.Popen(command, cwd=tree, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for one in begun:
        assert one.stdout is not None
        if one.stdout.readline() != "ready\n":
            raise SystemExit(f"error: {tree}: a generation failed; see above")
    return max(float(said.splitlines()[-1]) for said in _end(begun))


def _end(begun: "list[subprocess.Popen[str]]") -> list[str]:
    for one in begun:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    return [one.communicate()[0] for one in begun]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the tree of another commit")
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    for weights in ("float32", "int8"):
        for processes in (1, 2):
            pairs = [
                [at_once(tree.resolve(), processes, given.frames, weights) for tree in (HERE, given.other)]
                for _ in range(given.repeats)
            ]
            here, there = (statistics.median(times) for times in zip(*pairs, strict=True))
            ratio = statistics.median(other / own for own, other in pairs)
            line = f"{weights}, {processes} at once: {here:.2f} s here, {there:.2f} s there, {ratio:.2f} times as fast"
            print(line, flush=True)


if __name__ == "__main__":
    main()
