"""The comparison page: one HTML file with metrics, curves, players and a blind listening test of several runs."""

import itertools
import json
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from musicgen_lite.report import plots, run_metrics
from musicgen_lite.report.comparison import Comparison, Row
from musicgen_lite.report.comparison_sounds import Sounds, gather
from musicgen_lite.report.page import Chart, chart, render
from musicgen_lite.scoring.metrics import TOKENS

if TYPE_CHECKING:
    from musicgen_lite.tracking import Result


def comparison_page(comparison: Comparison, prompts: int = 12, seed: int = 0) -> str:
    """The whole page as HTML, with at most `prompts` test prompts; `seed` orders the blind test and draws its sides.

    All text is escaped, and the page's own policy forbids it any request.
    """
    sounds = gather(comparison, prompts)
    runs, labels = comparison.runs, comparison.labels
    return render(
        "comparison.html", ["page.css", "comparison.css"], ["page.js", "comparison.js"], comparison=comparison,
        colours=list(zip(plots.RUNS["light"], plots.RUNS["dark"], strict=True))[: len(runs)],
        cards=[_facts(run) for run in runs], charts=_charts(runs, labels), spans=_spans, sounds=sounds,
        test=Markup(_json({"labels": labels, "seed": seed, "trials": trials(sounds, len(runs), seed)})),
    )  # fmt: skip


def _facts(run: "Result") -> list[tuple[str, str]]:
    """The facts of a run beside the parameters in which the runs differ."""
    p = run.params
    trained = f"{p.get('train.steps', '?')} steps of {p.get('train.effective_batch_size', '?')} clips"
    if p.get("train.init"):
        trained += f", from {p['train.init']}"
    for source in ("published", "external"):
        trained = f"not here: {run.tags[source]}" if source in run.tags else trained
    size = f"{run.metrics['parameters']:,.0f} parameters" if "parameters" in run.metrics else "size unknown"
    return [
        ("model", run_metrics.model_name(p).removeprefix("model ")),
        ("size", size),
        ("trained", trained),
        ("data", p.get("data.source", "?")),
        ("run", run.run_id[:8]),
        (
            "commit",
            run.tags.get("score.commit", "none")[:10]
            + (" (changed files)" if run.tags.get("score.dirty") == "true" else ""),
        ),
        ("written", f"{run.started:%Y-%m-%d %H:%M}"),
    ]


def _charts(runs: "Sequence[Result]", labels: Sequence[str]) -> tuple[Chart, ...]:
    """Training curves and codebooks of all runs; none where the held-out tokens differ."""
    if any(run_metrics.incomparable(TOKENS, runs[0], run) for run in runs[1:]):
        return ()
    found = []
    curves = [(_curve(run, "train_loss"), _curve(run, "val_loss")) for run in runs]
    levels: dict[str, float] = {}
    for name in ("unigram", "bigram", "copy"):
        values = {score.value for run in runs if (score := run_metrics.score(run, f"nll_{name}"))}
        if len(values) == 1:
            levels[name] = values.pop()
    last = ", ".join(f"{label} {own[-1][1]:.3f}" for label, (_, own) in zip(labels, curves, strict=True) if own)
    if last:
        found.append(
            chart("Training: validation with markers, training dashed", f"Last validation: {last}.",
                  lambda theme: plots.run_curves(curves, levels, theme))
        )  # fmt: skip
    bars = [_codebooks(run) for run in runs]
    if all(bars):
        each = (", ".join(f"{value:.2f}" for value, _, _ in own) for own in bars)
        words = "; ".join(f"{label} {values}" for label, values in zip(labels, each, strict=True))
        found.append(
            chart("Codebooks: NLL of the held-out clips, 95 % intervals", f"NLL per codebook: {words}.",
                  lambda theme: plots.run_codebooks(bars, theme))
        )  # fmt: skip
    return tuple(found)


def _curve(run: "Result", name: str) -> list[tuple[float, float]]:
    return [(point["step"], point[name]) for point in run.curves if name in point]


def _codebooks(run: "Result") -> list[plots.Interval]:
    scores = [score for metric in run_metrics.codebooks([run]) if (score := run_metrics.score(run, metric.key))]
    return [(s.value, s.value if s.low is None else s.low, s.value if s.high is None else s.high) for s in scores]


def _spans(row: Row) -> list[tuple[int, float, float, float]]:
    """(run, left, width, place of the value) in percent of an axis that holds all runs of a row."""
    there = [(i, s.value, s.value if s.low is None else s.low, s.value if s.high is None else s.high)
             for i, s in enumerate(row.scores) if s]  # fmt: skip
    # An interval may exclude its own value (the basic one of a biased metric).
    low, high = (end(number for one in there for number in one[1:]) for end in (min, max))
    scale = 100 / (high - low) if high > low else 0.0
    return [(i, (a - low) * scale, (b - a) * scale, (value - low) * scale) for i, value, a, b in there]


def trials(sounds: Sounds, runs: int, seed: int) -> list[dict[str, Any]]:
    """The trials of the blind test, in order: every prompt with every pair of runs, on drawn sides; clips from the text alone."""
    draw = random.Random(seed)
    found = []
    for prompt, (a, b) in itertools.product(sounds.prompts, itertools.combinations(range(runs), 2)):
        made = {clip.run: clip.id for clip in prompt.clips if clip.kind == "generated"}
        if a in made and b in made:
            sides = draw.sample([a, b], 2)
            clips = [made[one] for one in sides]
            found.append({"prompt": prompt.id, "caption": prompt.caption, "runs": sides, "clips": clips})
    draw.shuffle(found)
    return found


def _json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")
