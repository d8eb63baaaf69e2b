"""A Python of its own that finds no model hub: nothing listens on port 9 of this machine."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def run(home: Path, *arguments: str, offline: bool = False) -> subprocess.CompletedProcess[str]:
    """`python ARGUMENTS` at the repository's root, with a cache of the hub at `home`; offline: told not to ask the hub."""
    own = {"HF_HOME": str(home), "HF_HUB_OFFLINE": str(int(offline)), "HF_ENDPOINT": "http://127.0.0.1:9"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env={**os.environ, **own, "PYTHONPATH": "src:."}, capture_output=True,
        text=True,
    )  # fmt: skip


def refusal(home: Path, imports: str, call: str, offline: bool = False) -> tuple[float, str]:
    """Seconds until `call` fails, and its message. What a loaded machine takes for `imports` is no waiting for the hub."""
    code = (
        f"import time\n{imports}\nbegun = time.monotonic()\n"
        f"try: {call}\nexcept Exception as error: print(time.monotonic() - begun, error)"
    )
    took, message = run(home, "-c", code, offline=offline).stdout.split(maxsplit=1)
    return float(took), message
