"""Complete the run in MLflow, or write it again from files; then print the scores and what to do next.

Runs at every `dvc repro`, in a moment where the run is there.
"""

import pandas as pd

from musicgen_lite import model_facts, tracking
from musicgen_lite.io.files import read_json
from musicgen_lite.params import Params
from musicgen_lite.report.results import ScoreFolders, read_curves
from musicgen_lite.report.run_metrics import model_name
from musicgen_lite.report.summary import terminal_summary
from musicgen_lite.scoring.statistics.scores import DRAWS
from stages.runtime import (
    CURVES,
    MODEL,
    PLOTS,
    PREVIEWS,
    REPORT,
    RUN,
    SCORES,
    SCORES_AUDIO,
    SCORES_NLL,
    TIMINGS,
    root,
    run,
)  # fmt: skip

NEXT = (
    ("musicgen-lite compare", "compare the newest runs by eye and ear, on a page of their own"),
    ("make ui", "compare all runs in MLflow"),
    ("dvc exp run -S model.type=b", "train and score the other model"),
    ("dvc exp run --queue -S model.type=a,b  and  dvc exp run --run-all -j 2", "queue both, run them side by side"),
    ("dvc exp show", "a table of experiments"),
    ("musicgen-lite push", "copy every result to a DVC remote; dvc push leaves some behind"),
    ("dvc metrics diff", "this result against the committed one"),
)
RESULTS = ScoreFolders(*SCORES)
SOURCES = ("published", "initial", "external")  # what a training's facts may name: tags of the run


def write(params: Params, record: dict, scoring: dict) -> tracking.RunRef:
    """Write everything of the result into its run."""
    samples, pictures = sorted(REPORT.glob("sample-*.flac")), sorted([*PLOTS.glob("*.png"), *REPORT.glob("*.png")])
    tables = {f"tables/{file.stem}": pd.read_parquet(file) for file in sorted(SCORES_AUDIO.glob("*.parquet"))}
    if params.model.is_language_model:  # else there is neither a model file nor its likelihood
        tables["tables/nll"] = pd.read_parquet(SCORES_NLL / "nll.parquet")
    scores = {f"scores/{file.parent.name}.json": file for file in RESULTS.details_files}
    scores["scores/draws.parquet"] = SCORES_AUDIO / DRAWS
    return tracking.close(
        params.tracking, root(), record,
        curves=read_curves(CURVES, TIMINGS), scoring_params=scoring, key_parts=RESULTS.digests(),
        metrics=RESULTS.metrics() | {k: v for k, v in record["training"].items() if k == "parameters"}, tables=tables,
        audio={f"audio/{file.name}": file.read_bytes() for file in samples}
        | {f"previews/{file.name}": file.read_bytes() for file in sorted(PREVIEWS.glob("*.flac"))},
        images={f"pictures/{file.name}": file.read_bytes() for file in pictures},
        files={"listen.html": REPORT / "index.html", "sounds.parquet": REPORT / "sounds.parquet", **scores},
        tags={name: record["training"][name] for name in SOURCES if name in record["training"]},
        model=None if not params.model.is_language_model else tracking.ModelFile(
            MODEL, model_facts.read(MODEL).metadata(params.data.source), {"trusted_pickles": list(params.trusted_pickles)}
        ),
    )  # fmt: skip


def main(params: Params) -> None:
    record = read_json(RUN)
    scoring = params.scoring()
    done = tracking.find(params.tracking, root(), record, scoring, RESULTS.digests()) or write(params, record, scoring)
    title = f"{done.name}: {model_name(record['params'])}"
    terminal_summary(
        title, RESULTS.tables(params.codec.num_codebooks), [(f"open {REPORT / 'index.html'}", "listen"), *NEXT]
    )
    print(f"MLflow: {done.link}")


if __name__ == "__main__":
    run(main)
