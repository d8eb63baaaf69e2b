"""The engine on Ray, on two nodes of this machine: bytes equal to local's, and what is lost is done elsewhere, once."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from musicgen_lite import clap, codec
from musicgen_lite.codec.tokenizer import Tokenizer
from musicgen_lite.compute import Engine, Local, Recipe
from musicgen_lite.device import set_threads
from musicgen_lite.errors import UserError
from musicgen_lite.io.clips import Clip, ClipStore, ClipWriter
from musicgen_lite.io.windows import Windows
from musicgen_lite.scoring.audio.embeddings import Embeddings, embed
from musicgen_lite.scoring.audio.spread import spread
from musicgen_lite.sources import synthetic
from stages.tokenize import tokenize
from tests.support import codec_tiny, ray_works, sources
from tests.support.ray_works import Counting, Doubled, LoadsOnly, Threads
from tests.support.standins import sine

ray = pytest.importorskip("ray", reason="needs the extra ray, which `make env` installs")
from ray.cluster_utils import Cluster  # noqa: E402 - after the message about the missing extra

from musicgen_lite.compute import on_ray  # noqa: E402
from musicgen_lite.compute.on_ray import OnRay  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.pipeline, pytest.mark.long]
CLIPS, BATCH, RATE = 320, 8, 1600


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head with room for two workers."""
    ray.cloudpickle.register_pickle_by_value(ray_works)
    os.environ.update(on_ray.OWN_RAY | os.environ)
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield started
    ray.shutdown()
    started.shutdown()


@pytest.fixture
def engine(cluster: Cluster) -> Iterator[OnRay]:
    one = OnRay("cpu", cluster.address, workers=2, threads=1)
    yield one
    one.close()


def outcome(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def run_tokenize(engine: Engine, folder: Path, out: Path) -> dict[str, bytes]:
    recipe = Recipe(codec.load, str(folder / "codec"), num_codebooks=2, device=engine.device)
    tokenizer = Tokenizer(recipe, Windows(recipe.model.rate, 0.2, 0.5), 0.5, "data/clips")
    tokenize(engine, ClipStore(folder / "clips"), tokenizer, BATCH, out)
    return outcome(out)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of noise, and a small codec."""
    folder = tmp_path_factory.mktemp("corpus")
    codec_tiny.save(folder / "codec")
    (folder / "clips").mkdir()
    writer, noise = ClipWriter(folder / "clips"), np.random.default_rng(0)
    for number in range(CLIPS):
        samples = 0.1 * noise.standard_normal(RATE).astype(np.float32)
        writer.add(Clip(f"clip-{number}", f"track-{number}", "train", "Noise.", (), samples, RATE))
    writer.close()
    return folder


def after(calls: Callable[[], int], number: int, act: Callable[[], None]) -> threading.Thread:
    """A thread that acts once so many calls were made."""

    def watch() -> None:
        while calls() < number:
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_a_killed_worker_and_a_killed_node_lose_nothing(
    cluster: Cluster, engine: OnRay, corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = run_tokenize(Local(), corpus, tmp_path / "local")
    second = cluster.add_node(num_cpus=1, resources={"second": 1})
    engine = OnRay("cpu", cluster.address, workers=3, threads=1)
    counting, chance = Counting(engine, tmp_path / "calls", pause=0.1), random.Random(0)

    def kill_worker() -> None:
        os.kill(chance.choice(counting.calls()[-2:])[0], signal.SIGKILL)

    def calls() -> int:
        return len(counting.calls())

    killers = [
        after(calls, chance.randint(3, 10), kill_worker),
        after(calls, chance.randint(14, 20), lambda: cluster.remove_node(second, allow_graceful=False)),
    ]
    assert run_tokenize(counting, corpus, tmp_path / "ray") == expected
    for killer in killers:
        killer.join()
    times = Counter(piece for _, _, piece in counting.calls())
    assert len(times) == CLIPS // BATCH
    assert max(times.values()) <= 1 + len(killers), "in flight at most once a kill"
    # A worker has two pieces at most, one of which it computes.
    assert sum(times.values()) <= len(times) + 2 * len(killers)
    assert len({node for _, node, _ in counting.calls()}) == 2
    said = capfd.readouterr().err
    assert "lost a worker" in said
    assert said.count("tokenize: 40 batches\n") == said.count("tokenize: done\n") == 2  # one bar for each engine
    engine.close()


def test_sources_give_the_bytes_of_one_process_though_a_worker_is_killed(
    engine: OnRay, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Cut and rejected by name as here; the shards of the lost worker are cut elsewhere, and no other one again."""
    for package in ("datasets", "yt_dlp"):
        pytest.importorskip(package, reason=f"the package {package} is not installed (make env)")
    place = sources.write(tmp_path / "place")
    expected = sources.imported(place, Local(), tmp_path / "here")
    counting = Counting(engine, tmp_path / "calls", pause=0.05)
    killer = after(lambda: len(counting.calls()), 20, lambda: os.kill(counting.calls()[-1][0], signal.SIGKILL))
    assert sources.imported(place, counting, tmp_path / "there") == expected
    killer.join()
    calls = [piece for _, _, piece in counting.calls()]
    assert "lost a worker" in capfd.readouterr().err
    assert len(calls) <= len(set(calls)) + 2, "in flight at most"


def test_composed_clips_are_those_of_one_process(engine: OnRay) -> None:
    def composed(by: Engine) -> list[tuple[str, str, str, bytes]]:
        clips = synthetic.corpus(7, (9, 2, 5), 1.0, 8000, by)
        return [(clip.id, clip.split, clip.caption, clip.samples.tobytes()) for clip in clips]

    assert composed(engine) == composed(Local())


def test_without_an_address_a_ray_of_this_machine_is_started_and_ended(tmp_path: Path) -> None:
    script = """
from musicgen_lite.compute.on_ray import OnRay
from musicgen_lite.sources import synthetic
engine = OnRay("cpu", workers=1)
print([clip.id for clip in synthetic.clips(7, 5, "train", 1.0, 8000, engine)])
engine.close()
import ray
print(ray.is_initialized())
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.stdout.splitlines() == [str([f"syn-{seed:08d}" for seed in range(7, 12)]), "False"], done.stderr


def test_embeddings_for_scores_are_those_of_one_process(engine: OnRay) -> None:
    clips = [(f"c{number}", sine(200 + 40 * number), 16000) for number in range(10)]

    def embedded(engine: Engine) -> dict[str, Embeddings]:
        coder = Recipe(codec.load, "embedded", num_codebooks=4, device=engine.device)
        picker = Recipe(clap.load, "embedded", device=engine.device)
        embedders = spread(engine, picker, coder)
        return embed(clips, embedders.spaces, "clips", vectors=embedders.vectors)

    here, there = embedded(Local()), embedded(engine)
    assert set(here) == {"clap", "codec", "mel"}
    for space, one in here.items():
        assert one.digest == there[space].digest
        assert one.rows.tobytes() == there[space].rows.tobytes(), space


@pytest.mark.parametrize("threads", [1, 2])
def test_workers_and_this_process_compute_with_the_threads_that_are_named(cluster: Cluster, threads: int) -> None:
    engine = OnRay("cpu", cluster.address, workers=1, threads=threads)
    found = list(engine.map(Threads(), [0]))
    engine.close()
    set_threads(threads)
    assert found == list(Local().map(Threads(), [0])) == [(threads, {threads})]


def test_a_model_is_loaded_once_a_worker_and_a_worker_serves_several_sets(engine: OnRay, tmp_path: Path) -> None:
    counting, work = Counting(engine, tmp_path / "calls"), Doubled()
    for _ in range(2):
        assert list(counting.map(work, range(20))) == list(range(0, 40, 2))
    assert len({process for process, _, _ in counting.calls()}) <= 2


def test_what_is_wrong_with_a_piece_is_said_as_in_one_process(engine: OnRay) -> None:
    for one in (Local(), engine):
        found = one.map(Doubled(wrong=5), range(20))
        with pytest.raises(UserError, match=r"^number 5: it is wrong$"):
            list(found)
    assert list(engine.map(Doubled(), range(3))) == [0, 2, 4], "the engine goes on with other work"


def test_a_piece_that_ends_every_worker_is_named_and_the_pieces_before_it_are_done(engine: OnRay) -> None:
    found = engine.map(Doubled(deadly=4), range(20))
    assert [next(found) for _ in range(4)] == [0, 2, 4, 6]
    with pytest.raises(UserError, match=r"^number 4: 4 workers were lost over it \(on .+\).*take fewer at a time"):
        next(found)


def test_what_a_node_without_memory_had_is_done_elsewhere(
    cluster: Cluster, engine: OnRay, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.0")  # whatever is in use there is too much
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "50")
    full = cluster.add_node(num_cpus=2, resources={"full": 1})
    monkeypatch.undo()
    both = OnRay("cpu", cluster.address, workers=3, threads=1)
    assert list(both.map(Doubled(pause=0.2), range(30))) == list(range(0, 60, 2))
    assert "its node ran out of memory" in capfd.readouterr().err
    both.close()
    cluster.remove_node(full, allow_graceful=False)


def test_a_worker_with_other_packages_is_named(engine: OnRay, monkeypatch: pytest.MonkeyPatch) -> None:
    real = on_ray.versions()
    monkeypatch.setattr(on_ray, "versions", lambda: real | {"torch": "1.0.0", "no-such-package": "2.0"})
    with pytest.raises(
        UserError, match=r"a worker on .+ has torch [\d.]+, not 1\.0\.0; no-such-package none, not 2\.0"
    ):
        list(engine.map(Doubled(), range(3)))


def test_a_worker_with_another_model_is_named(engine: OnRay, tmp_path: Path) -> None:
    folder = codec_tiny.save(tmp_path / "codec")
    recipe = Recipe(codec.load, str(folder), num_codebooks=2)
    assert recipe.model.fingerprint
    codec_tiny.save(folder, seed=1)
    with pytest.raises(UserError, match=r"codec' has the fingerprint \w+ here, but \w+ where the stage runs"):
        list(engine.map(LoadsOnly(recipe), [0]))


def test_a_worker_that_no_node_has_room_for_is_named(cluster: Cluster) -> None:
    engine = OnRay("cpu", cluster.address, workers=1, threads=64)
    with pytest.raises(UserError, match=r"a worker needs 64 CPU\(s\) \(compute\.threads\); no node .* \(.*: 2\)"):
        list(engine.map(Doubled(), range(3)))
    engine.close()


def test_a_cluster_of_another_version_is_named(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = OnRay("cpu", cluster.address, workers=1)
    monkeypatch.setattr(ray, "__version__", "1.0.0")
    with pytest.raises(
        UserError, match=rf"compute\.address: {cluster.address}: Ray 1\.0\.0 cannot start there \(Version mis"
    ):
        list(engine.map(Doubled(), range(3)))
    engine.close()
