"""One short script a stage, run as `python -m stages.NAME` from the root of the tree.

This package puts its own tree's `src` first on the path: a queued experiment runs in a copy of the tree, and must
import that copy, not the workspace that is installed in the environment. It is imported first, so that Ctrl-C works
from the start.
"""

import contextlib
import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

# Kept quiet and offline before the first heavy import reads them.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

INTERRUPTED = "interrupted: what is finished is kept; the same command goes on from there"
EXIT_INTERRUPTED = 128 + signal.SIGINT


def leave_at_once(number: int, frame: FrameType | None) -> None:
    """Exit on Ctrl-C during imports: nothing is open yet, and a package might take the exception for a missing module."""
    os.write(2, f"{INTERRUPTED}\n".encode())
    os._exit(EXIT_INTERRUPTED)


# Only in a stage's own process, where Python has not yet put the script's path in place of -m, and not where the shell
# has Ctrl-C ignored, as it has for what runs in its background.
if sys.argv[0] == "-m" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, leave_at_once)

# Lightning represents its extra; it is only looked up, since importing it takes seconds.
if find_spec("lightning") is None:
    from musicgen_lite.errors import UserError, require

    try:
        require("lightning", extra="pipeline", purpose="the pipeline")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None

import psutil  # noqa: E402 - after the message about its missing extra


def starters() -> list[int]:
    """Ids of the processes that started this one, up to DVC's; a shell may stand between the two."""
    command, process, found = " ".join(sys.orig_argv[1:]), psutil.Process(), list[int]()
    with contextlib.suppress(psutil.Error):  # one may end while it is looked at
        while not found or command in " ".join(process.cmdline()):
            process = psutil.Process(process.ppid())
            found.append(process.pid)
    return found


STARTERS = starters()  # before the imports: they take seconds, in which DVC may end
