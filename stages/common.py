"""What every stage does around its own few lines: typed parameters in, threads set, errors said plainly."""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from musicgen_lite import params
from musicgen_lite.errors import UserError
from musicgen_lite.params import ComputeParams, Params
from musicgen_lite.store import atomic_dir, explain, write_json, write_table

if TYPE_CHECKING:
    from musicgen_lite.scoring.summary import Scores

CLIPS = Path("data/clips")
OUTSIDE = Path("data/outside")  # the state of what is read from outside of the repository, a file for each
TOKENS = Path("data/tokens")
TEXT = Path("data/text")
MODEL = Path("data/model/model.safetensors")
CURVES = Path("metrics/curves.csv")
RUN = Path("data/run/run.json")
TIMINGS = Path("data/run/timings.json")
PREVIEWS = Path("data/previews")
REFERENCE = Path("data/reference")
SAMPLES = Path("data/samples")
SCORES_NLL = Path("data/scores/nll")
SCORES_REFERENCE = Path("data/scores/reference")
SCORES_AUDIO = Path("data/scores/audio")
CODEBOOKS = Path("metrics/codebooks.csv")
DRAWS = SCORES_AUDIO / "draws" / "distances.parquet"
METRICS_NLL = Path("metrics/nll.json")
METRICS_AUDIO = Path("metrics/audio.json")
REPORT = Path("data/report")
PLOTS = Path("data/plots")
# Fixed, not a parameter: all results of one corpus are measured against the same reference, and with the same resamples
# of clips, so that two results can be compared in pairs.
MEASURE_SEED = 0
SHIPPED = ("", "embedded", "judge")  # names of models that are never paths


def run(stage: Callable[[Params], None]) -> None:
    """Run a stage on checked parameters; what a user can mend becomes one message and exit code 2."""
    try:
        stage(params.load("params.yaml"))
    except Exception as error:
        explained = explain(error)
        if not isinstance(explained, UserError):
            raise
        print(f"error: {explained}", file=sys.stderr)
        raise SystemExit(2) from None


def root() -> Path:
    """The repository that experiments belong to: DVC runs queued ones in a copy and names the original here."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def placed(name: str) -> str:
    """A model's name as a parameter has it; one that is a path starts at the main repository, even where a queued copy runs."""
    path = root() / Path(name).expanduser()
    return str(path) if name not in SHIPPED and path.exists() else name


def set_up_torch(compute: ComputeParams) -> str:
    """Set threads and pick the device: `cpu` or `cuda`."""
    import torch

    torch.set_num_threads(compute.threads or os.cpu_count() or 1)
    if compute.device == "cuda" and not torch.cuda.is_available():
        raise UserError("compute.device: found 'cuda', but torch sees no GPU here; set it to auto or cpu")
    return "cuda" if compute.device != "cpu" and torch.cuda.is_available() else "cpu"


def seed_of(*parts: str | int) -> int:
    """A seed of an item's own, from what names it: it depends on nothing that is done beside it."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:6], "big")


def write_scores(folder: Path, scores: "Scores") -> None:
    """Everything behind the metric columns: intervals, n and notes as JSON, Parquet tables with a row an item, resamples."""
    with atomic_dir(folder) as part:
        write_json(part / "details.json", scores.details)
        for name, table in scores.tables.items():
            write_table(part / f"{name}.parquet", table)
        if scores.draws:
            write_table(part / DRAWS.relative_to(SCORES_AUDIO), scores.draws_table)
