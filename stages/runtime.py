"""What every stage shares: paths, typed parameters, threads and device, error messages, interrupts.

Nothing here decides a result.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from ruamel.yaml import YAML

from musicgen_lite import params
from musicgen_lite.compute import Engine, choose, num_threads
from musicgen_lite.errors import UserError
from musicgen_lite.io.files import explain
from musicgen_lite.io.hashing import file_sha256, files_in, short_digest
from musicgen_lite.io.work import held
from musicgen_lite.params import Params
from musicgen_lite.params_compute import ComputeParams
from stages import EXIT_INTERRUPTED, INTERRUPTED, STARTERS, leave_at_once, starters

CLIPS = Path("data/clips")
EXTERNAL = Path("data/external")  # the state of external inputs, one file each
PROMPTS = EXTERNAL / "prompts.json"  # what sample.prompts_file holds
TOKENS = Path("data/tokens")
TEXT = Path("data/text")
MODEL = Path("data/model/model.safetensors")
SYSTEM = Path("data/model/system.json")  # in a model's place: which other system's audio is scored
CURVES = Path("metrics/curves.csv")
RUN = Path("data/run/run.json")
TIMINGS = Path("data/run/timings.json")
PREVIEWS = Path("data/previews")
REFERENCE = Path("data/reference")
SAMPLES = Path("data/samples")
SCORES_NLL = Path("data/scores/nll")
SCORES_REFERENCE = Path("data/scores/reference")
SCORES_AUDIO = Path("data/scores/audio")
SCORES = (SCORES_NLL, SCORES_REFERENCE, SCORES_AUDIO)
CODEBOOKS = Path("metrics/codebooks.csv")
METRICS_NLL = Path("metrics/nll.json")
METRICS_AUDIO = Path("metrics/audio.json")
REPORT = Path("data/report")
PLOTS = Path("data/plots")
SHIPPED = ("", "embedded", "judge")  # model names that are never paths
ORPHANED = "the DVC that started this stage is gone: what is finished is kept; the same command goes on from there"
_orphaned, _stops_itself = threading.Event(), threading.Event()


def run(stage: Callable[[Params], None]) -> None:
    """Run a stage on checked parameters. A UserError becomes one message and exit code 2, Ctrl-C one message and 130.

    A stage that DVC started is interrupted once that DVC is gone; one that was started by hand is not.
    """
    if signal.getsignal(signal.SIGINT) is leave_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # from here on there are files to close
    try:
        if "DVC_STAGE" in os.environ:
            signal.signal(signal.SIGUSR2, _interrupt)
            threading.Thread(target=_watch, daemon=True).start()
        stage(params.load("params.yaml"))
    except KeyboardInterrupt:
        with suppress(OSError):  # the reader may be gone, too
            print(ORPHANED if _orphaned.is_set() else INTERRUPTED, file=sys.stderr)
        raise SystemExit(EXIT_INTERRUPTED) from None
    except Exception as error:
        explained = explain(error)
        if not isinstance(explained, UserError):
            raise
        print(f"error: {explained}", file=sys.stderr)
        raise SystemExit(2) from None


def _watch(every_s: float = 1.0) -> None:
    """Interrupt the main thread once the parent processes change: a process that loses its parent gets another."""
    while starters() == STARTERS:
        time.sleep(every_s)
    _orphaned.set()
    while _stops_itself.is_set():
        time.sleep(every_s)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def stopping_by_itself() -> Iterator[Callable[[], bool]]:
    """Postpone interrupts by `_watch`; yields a function that tells whether to stop."""
    _stops_itself.set()
    try:
        yield _orphaned.is_set
    finally:
        _stops_itself.clear()


def caller() -> str:
    """The name of this run for a person."""
    name = os.environ.get("DVC_EXP_NAME")
    return f"experiment {name}" if name else "dvc repro" if "DVC_STAGE" in os.environ else "a run by hand"


def root() -> Path:
    """The main repository: DVC runs queued experiments in a copy, and names the original in DVC_ROOT."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def resolve_model_path(name: str) -> str:
    """The model name of a parameter; a relative path starts at the main repository, also in a queued experiment's copy."""
    path = root() / Path(name).expanduser()
    return str(path) if name not in SHIPPED and path.exists() else name


def set_up_torch(compute: ComputeParams) -> str:
    """Set this process's threads and pick its device: `cpu` or `cuda`."""
    from musicgen_lite.device import choose_device, set_threads

    set_threads(num_threads(compute))
    return choose_device(compute.device, "compute.device")


def set_up_engine(compute: ComputeParams) -> Engine:
    """Set this process's threads and pick what the frozen models compute with."""
    from musicgen_lite.device import set_threads

    set_threads(num_threads(compute))
    return choose(compute)


@contextmanager
def held_work(stage: str, params: Params) -> Iterator[tuple[Engine, Path]]:
    """What the frozen models of a stage compute with, and its folder of unfinished work, in which no other process works."""
    engine = set_up_engine(params.compute)
    work = work_dir(stage, params, engine.device)
    with held(work, caller()):
        yield engine, work


def work_dir(stage: str, params: Params, *facts: str, besides: Collection[str] = ()) -> Path:
    """The folder in the main repository where a stage keeps unfinished work and resumes it.

    Its name hashes the stage's dependencies and parameters in dvc.yaml, by content and value, and `facts` that DVC does
    not know (fingerprints of external models, the device): a changed input never resumes the work of another. `besides`:
    parameters of the stage's section that decide nothing of the result.
    A training's checkpoints carry an identity besides, made by the same function, for those who name a folder themselves.
    """
    declared = YAML(typ="safe").load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]
    deps, names = (_interpolate(declared[key], params) for key in ("deps", "params"))
    tree = params.model_dump(mode="json")
    tree[stage] = {name: value for name, value in tree.get(stage, {}).items() if name not in besides}
    values = {name: _value(tree, name) for name in names}
    contents = {file.as_posix(): file_sha256(file) for file in files_in(deps)}
    identity = {"stage": stage, "params": values, "facts": facts, "files": contents}
    return root() / "checkpoints" / short_digest(identity)


def _interpolate(declared: list[str], params: Params) -> list[str]:
    return [text.replace("${model.type}", params.model.type) for text in declared]


def _value(tree: Any, name: str) -> Any:
    for key in name.split("."):
        tree = tree[key]
    return tree
