"""One short script a stage, run as `python -m stages.NAME` from the root of the tree.

This package puts its own tree's `src` first on the path: a queued experiment runs in a copy of the tree, and must
import that copy, not the workspace, which the environment has installed.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

# Kept quiet and offline before the first heavy import reads them.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

if (
    find_spec("lightning") is None
):  # stands for its extra; importing it would take seconds, and not every stage needs it
    from musicgen_lite.errors import UserError, require

    try:
        require("lightning", extra="pipeline", purpose="the pipeline")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
