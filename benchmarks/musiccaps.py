"""Fetch a MusicCaps table of 5,521 rows from a local server, kill it on the way, run it again, and count requests.

`python -m benchmarks.musiccaps` takes a few minutes on two cores and needs yt-dlp and ffmpeg; the audio is short and made
here, the table is composed, or the real one with `--table`. The import runs in a process of its own, as the stage does,
and is killed with SIGKILL when `--kill-at` windows are in the cache. The second run must ask for none of those again.
Printed: time, rows a second, the highest memory of the process with 1,000 rows in and at its end, and requests.
"""

import argparse
import csv
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import soundfile

from musicgen_lite.io.clips import ClipWriter
from musicgen_lite.io.files import atomic_dir
from musicgen_lite.sources import musiccaps
from musicgen_lite.sources.fetch import Fetcher
from tests.support.server import Server

ROOT = Path(__file__).resolve().parent.parent
ROWS = 5_521
KILL_AT = 3_000
RATE = 8_000
SECONDS = 1.0
# Every so many videos are gone, as in the world.
GONE_EVERY = 20
HEADER = ("ytid", "start_s", "end_s", "aspect_list", "caption", "is_audioset_eval")


@dataclass(frozen=True)
class Outcome:
    """What a run left: clips, rejected rows, requests that were repeated for what was there, and the two peaks in MB."""

    clips: int
    rejected: int
    asked_again: int
    in_flight: int
    seconds: tuple[float, float]
    memory_early: float
    memory_end: float


def compose_table(path: Path, rows: int) -> None:
    """A table in the real one's form: ids with a dash in front, captions over several lines, other scripts."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for number in range(rows):
            caption = f'Piece {number},\n"calm" and naïve, 音楽.' if number % 50 == 0 else f"Piece {number}."
            writer.writerow((f"{'-' if number % 50 else 'v'}{number:09d}", 0, 1, "['calm']", caption, number % 2 == 0))


def shorten(real: Path, path: Path, rows: int) -> None:
    """The real table with every window moved to where the short files have it."""
    with real.open(newline="", encoding="utf-8-sig") as file, path.open("w", newline="", encoding="utf-8") as short:
        writer = csv.DictWriter(short, HEADER, extrasaction="ignore")
        writer.writeheader()
        for _, row in zip(range(rows), csv.DictReader(file), strict=False):
            writer.writerow(row | {"start_s": "0", "end_s": str(SECONDS)})


def audio_bytes() -> bytes:
    """One second of a tone, and half a second after the window."""
    time_s = np.arange(round(1.5 * SECONDS * RATE)) / RATE
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.3 * np.sin(2 * np.pi * 440 * time_s), RATE, format="WAV")
    return buffer.getvalue()


def run_import(table: Path, place: Path, url: str, workers: int) -> None:
    """What the stage does, in a process that can be killed; prints a line at 1,000 clips and one at the end."""
    rejected: list[dict[str, str]] = []
    fetcher = Fetcher(place / "cache", url, workers, pause_s=0.0, attempts=1)
    clips = musiccaps.clips(
        table, fetcher, RATE, SECONDS, 0.05, 0, lambda name, reason: rejected.append({"id": name, "reason": reason})
    )
    with atomic_dir(place / "clips") as part:
        writer = ClipWriter(part)
        for clip in clips:
            writer.add(clip)
            if writer.count == 1_000:
                print(json.dumps({"memory_early": memory()}), flush=True)
        writer.close(rejected)
    print(json.dumps({"clips": writer.count, "rejected": len(rejected), "memory_end": memory()}), flush=True)


def memory() -> float:
    """MB that this process holds."""
    return float(psutil.Process().memory_info().rss / 1e6)


def start(table: Path, place: Path, url: str, workers: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.musiccaps", "--child", str(table), str(place), url, str(workers)]
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=os.environ | {"PYTHONPATH": path}
    )


def cached(place: Path) -> set[str]:
    """Ids of the windows that are in the cache, whole, or known to be gone."""
    files = [*place.glob("cache/yt_*.flac"), *place.glob("cache/yt_*.gone")]
    return {file.name.removeprefix("yt_").rsplit("_", 1)[0] for file in files}


def kill_at(process: subprocess.Popen[str], place: Path, count: int) -> None:
    """Kill the process and what it started when `count` windows are in the cache."""
    while process.poll() is None and len(cached(place)) < count:
        time.sleep(0.05)
    if process.poll() is not None:
        raise SystemExit(f"the first run ended before {count} windows were there to kill it at")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def measure(rows: int, kill_after: int, workers: int, real: Path | None = None) -> Outcome:
    """Run, kill, run again; what was asked for twice is counted by the server."""
    data = audio_bytes()
    with tempfile.TemporaryDirectory() as folder:
        place, table = Path(folder), Path(folder) / "table.csv"
        if real:
            shorten(real, table, rows)
        else:
            compose_table(table, rows)
        gone = {entry.window.ytid for entry in musiccaps.read(table, print)[::GONE_EVERY]}
        lock = threading.Lock()

        def find(name: str) -> bytes | int:
            with lock:
                return 404 if name.removesuffix(".wav") in gone else data

        with Server(find) as server:
            url = server.url + "/{ytid}.wav"
            started = time.monotonic()
            kill_at(start(table, place, url, workers), place, kill_after)
            first = time.monotonic() - started
            there, before = cached(place), Counter(server.requests)
            started = time.monotonic()
            process = start(table, place, url, workers)
            output, _ = process.communicate()
            second = time.monotonic() - started
            after = Counter(server.requests)
        if process.returncode:
            raise SystemExit(f"the second run ended with {process.returncode}")
        said: dict[str, float] = {}
        for line in output.splitlines():
            said |= json.loads(line)
        asked = {name.removesuffix(".wav") for name in after if after[name] > before[name]}
        begun = {name.removesuffix(".wav") for name in before}
        return Outcome(
            int(said["clips"]), int(said["rejected"]), len(asked & there), len((begun - there) & asked), (first, second),
            said.get("memory_early", float("nan")), said["memory_end"],
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--kill-at", type=int, default=KILL_AT)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--table", type=Path, help="the real table, in place of a composed one")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        table, place, url, workers = arguments.child
        run_import(Path(table), Path(place), url, int(workers))
        return
    outcome = measure(arguments.rows, arguments.kill_at, arguments.workers, arguments.table)
    rate = arguments.rows / sum(outcome.seconds)
    print(f"{arguments.rows} rows, killed at {arguments.kill_at}, {arguments.workers} workers")
    print(
        f"  time: {outcome.seconds[0]:.0f} s until killed, {outcome.seconds[1]:.0f} s after: {rate:.1f} rows a second"
    )
    print(f"  memory: {outcome.memory_early:.0f} MB at 1,000 clips, {outcome.memory_end:.0f} MB at the end")
    print(f"  clips: {outcome.clips}, rejected with a reason: {outcome.rejected}")
    print(f"  in the cache when killed, and asked for again: {outcome.asked_again}")
    print(f"  under way when killed, and begun again: {outcome.in_flight}")
    if outcome.asked_again or outcome.clips + outcome.rejected != arguments.rows:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
