"""The engine that the parameters name, and what is said before anything is computed."""

import multiprocessing
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML

from musicgen_lite import params
from musicgen_lite.compute import Local, Processes, Recipe, choose, choose_plain
from musicgen_lite.compute.pool import Room
from musicgen_lite.errors import UserError
from musicgen_lite.params_compute import ComputeParams
from tests.support.project import ROOT
from tests.support.ray_works import Doubled


def compute(**changes: Any) -> ComputeParams:
    """The section `compute` of params.yaml, changed."""
    tree = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    tree["compute"] |= {"device": "cpu", **changes}
    return params.parse(tree).compute


@contextmanager
def listening() -> Iterator[str]:
    """The address of something that takes a connection, reads, and says nothing of Ray's."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_the_default_computes_here_in_order() -> None:
    engine = choose(compute())
    assert isinstance(engine, Local)
    assert engine.device == "cpu"
    assert list(engine.map(Doubled(), range(100))) == list(range(0, 200, 2))


def test_work_without_a_model_has_processes_where_other_work_has_threads() -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    assert isinstance(choose_plain(compute(threads=2), processes=True), Processes)
    assert isinstance(choose_plain(compute(threads=1), processes=True), Local)
    assert isinstance(choose_plain(compute(threads=2), processes=False), Local)
    spread = choose_plain(compute(engine="ray", workers=2, threads=3), processes=False)
    assert spread._room == Room(workers=6, threads=1, gpus=0.0)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_processes_give_results_in_order_and_take_few_pieces_ahead() -> None:
    taken = []

    def pieces() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    found = Processes(2).map(Doubled(), pieces())
    assert [next(found), next(found)] == [0, 2]
    assert len(taken) < 20
    assert list(found) == list(range(4, 200, 2))
    with pytest.raises(UserError, match=r"^number 5: it is wrong$"):
        list(Processes(2).map(Doubled(wrong=5), range(20)))


@pytest.mark.slow
def test_what_a_lost_process_had_is_done_again(capsys: pytest.CaptureFixture[str]) -> None:
    found = Processes(2).map(Doubled(pause=0.05), range(20))
    assert next(found) == 0
    multiprocessing.active_children()[-1].kill()
    assert list(found) == list(range(2, 40, 2))
    assert "lost a process; what it had is done again" in capsys.readouterr().err


@pytest.mark.slow
def test_a_piece_that_loses_its_process_time_and_again_is_named() -> None:
    found = Processes(2).map(Doubled(deadly=5), range(20))
    with pytest.raises(UserError, match=r"^number [0-5]: processes were lost 4 times .* run the same command again$"):
        list(found)


DRIVER = """
import sys
from musicgen_lite.compute import Processes
from tests.support.ray_works import Doubled
if __name__ == "__main__":
    for result in Processes(2).map(Doubled(pause=0.1), range(10_000)):
        print(result, flush=True)
"""


@pytest.mark.slow
def test_processes_end_with_one_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "driver.py").write_text(DRIVER)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, tmp_path / "driver.py"], env=environment, stdout=subprocess.PIPE) as driver:
        assert driver.stdout is not None
        driver.stdout.readline()
        children = psutil.Process(driver.pid).children()
        assert len(children) >= 2
        driver.kill()
    assert not psutil.wait_procs(children, timeout=20)[1]


@pytest.mark.slow
def test_composing_does_not_wait_for_torch() -> None:
    script = "import sys, stages.download; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


def test_without_ray_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        UserError, match=r'compute\.engine ray needs .*pip install "musicgen-lite\[ray\]".*engine to local'
    ):
        choose(compute(engine="ray"))


def test_a_cluster_that_is_not_there_is_named() -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(UserError, match=rf"compute\.address: found '{free}', where no Ray cluster answers \(.*refused"):
        choose(compute(engine="ray", address=free))


def test_what_listens_there_and_is_not_ray_is_named() -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    with listening() as address, pytest.raises(UserError, match=r"no Ray cluster answers \(something else than Ray"):
        choose(compute(engine="ray", address=address))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "cuda"}, r"gpus_per_worker: found 0; with device cuda a worker of Ray needs a GPU"),
        ({"gpus_per_worker": 1.0}, r"gpus_per_worker: found 1; with device cpu a worker of Ray takes none"),
        ({"gpus_per_worker": 1.5, "device": "auto"}, r"gpus_per_worker: found 1\.5; allowed are parts of one"),
        ({"engine": "spark"}, r"compute\.engine: found 'spark'; input should be 'local' or 'ray'"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        compute(**{"engine": "ray", **changes})


def test_the_room_of_a_node_is_what_it_needs_most() -> None:
    node = {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 1.0}}
    assert Room(0, threads=2, gpus=0.0).fits(node) == 4
    assert Room(0, threads=2, gpus=0.5).fits(node) == 2
    assert Room(0, threads=16, gpus=0.0).fits(node) == 0
    assert Room(0, threads=1, gpus=0.0).fits({**node, "Alive": False}) == 0


def test_a_recipe_loads_once_and_travels_without_its_model() -> None:
    import pickle

    recipe = Recipe(Loaded.load, "name", device="cpu")
    assert recipe.model is recipe.model
    again = pickle.loads(pickle.dumps(recipe))
    assert "model" not in again.__dict__
    Loaded.fingerprint, before = "other", Loaded.fingerprint
    try:
        with pytest.raises(UserError, match="'name' has the fingerprint other here, but first where the stage runs"):
            again.model  # noqa: B018 - what reading it raises
    finally:
        Loaded.fingerprint = before


class Loaded:
    """A model by name."""

    fingerprint = "first"

    @classmethod
    def load(cls, name: str, device: str) -> "Loaded":
        return cls()
