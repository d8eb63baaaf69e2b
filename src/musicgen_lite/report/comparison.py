"""Runs side by side: metrics with intervals, which is best, and paired differences to the first run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musicgen_lite.errors import UserError
from musicgen_lite.report import run_metrics
from musicgen_lite.report.page import Score
from musicgen_lite.scoring.metrics import GROUPS, ByPrompt, MetricSpec
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap

if TYPE_CHECKING:
    from musicgen_lite.tracking import Result

BOOTSTRAP = Bootstrap()
MAX_RUNS = 6
NOT_BY_PROMPT = "a metric of the whole set, without per-prompt values or resamples"


@dataclass(frozen=True)
class Difference:
    """A run minus the first run. `score` is None where it is withheld, and `reason` says why."""

    score: Score | None
    reason: str = ""

    @property
    def sure(self) -> bool:
        """Whether the CI excludes 0."""
        one = self.score
        return one is not None and one.low is not None and one.high is not None and (one.low > 0 or one.high < 0)


@dataclass(frozen=True)
class Row:
    """One metric across the runs. `best` are the positions of the best runs; `differences` has one entry per further run."""

    metric: MetricSpec
    scores: tuple[Score | None, ...]
    best: tuple[int, ...]
    differences: tuple[Difference | None, ...]

    @property
    def paired(self) -> bool:
        """Whether a difference, or the reason why it is withheld, belongs beside the metric."""
        return any(self.differences)

    @property
    def counts(self) -> str:
        """The numbers of clips behind the metric, each once."""
        return ", ".join(str(n) for n in dict.fromkeys(one.n for one in self.scores if one and one.n is not None))


@dataclass(frozen=True)
class Group:
    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Comparison:
    """What a page and the terminal show of several runs; `labels` are their names, with an id where two share one."""

    runs: "tuple[Result, ...]"
    labels: tuple[str, ...]
    groups: tuple[Group, ...]
    settings: tuple[tuple[str, tuple[str, ...]], ...]  # parameters in which the runs differ, and their values

    @property
    def withheld(self) -> tuple[tuple[str, str], ...]:
        """(label of a run, "metrics: reason") for every difference that is withheld: both runs have the metric, or one cannot."""
        found: dict[tuple[str, str], list[str]] = {}
        for group in self.groups:
            for row in group.rows:
                for label, one in zip(self.labels[1:], row.differences, strict=True):
                    if one and one.reason and one.reason != NOT_BY_PROMPT:
                        found.setdefault((label, one.reason), []).append(row.metric.key)
        return tuple((label, f"{', '.join(keys)}: {reason}") for (label, reason), keys in found.items())

    @property
    def picking(self) -> str:
        """What to say where runs pick from different numbers of candidates, another system's having one each; else ""."""
        counts = [run.params.get("sample.candidates", "1") for run in self.runs]
        each = ", ".join(f"{label} {count}" for label, count in zip(self.labels, counts, strict=True))
        said = (
            f"Scored is the best by CLAP of several candidates a prompt ({each}); clap_n1 compares the first of each."
        )
        return said if len(set(counts)) > 1 else ""


def compare(runs: "Sequence[Result]", bootstrap: Bootstrap = BOOTSTRAP) -> Comparison:
    """Every metric of the runs side by side. UserError for more runs than fit a page."""
    if len(runs) > MAX_RUNS:
        raise UserError(f"{len(runs)} runs: at most {MAX_RUNS} fit beside each other; name fewer")
    shown = {title: list(known) for title, known in GROUPS.items()}
    shown["Likelihood"] += run_metrics.codebooks(runs)
    shown["Other metrics"] = run_metrics.others(runs)
    shown["Size"] = [MetricSpec("parameters", "number of parameters")]
    groups = []
    for title, known in shown.items():
        rows = [_row(metric, runs, bootstrap) for metric in known]
        kept = tuple(row for row in rows if any(row.scores))
        if kept:
            groups.append(Group(title, kept))
    return Comparison(tuple(runs), _labels(runs), tuple(groups), _settings(runs))


def _labels(runs: "Sequence[Result]") -> tuple[str, ...]:
    names = [run.name for run in runs]
    return tuple(run.name if names.count(run.name) == 1 else f"{run.name} ({run.run_id[:8]})" for run in runs)


def _settings(runs: "Sequence[Result]") -> tuple[tuple[str, tuple[str, ...]], ...]:
    keys = dict.fromkeys(key for run in runs for key in run.params if key != "score.key")
    values = {key: tuple(run.params.get(key, "–") for run in runs) for key in keys}
    return tuple((key, found) for key, found in values.items() if len(set(found)) > 1)


def _row(metric: MetricSpec, runs: "Sequence[Result]", bootstrap: Bootstrap) -> Row:
    scores = tuple(run_metrics.score(run, metric.key) for run in runs)
    differences = tuple(
        difference(metric, runs[0], run, bootstrap) if scores[0] and score else _lacking(metric, runs[0], run)
        for run, score in zip(runs[1:], scores[1:], strict=True)
    )
    return Row(metric, scores, _best(metric, runs, scores), differences)


def _lacking(metric: MetricSpec, first: "Result", other: "Result") -> Difference | None:
    """Why there is no difference of a metric that one of two runs cannot have; None where it was just not measured."""
    reason = run_metrics.not_applicable(metric, first) or run_metrics.not_applicable(metric, other)
    both = any(run_metrics.score(run, metric.key) for run in (first, other))
    return Difference(None, reason) if reason and both and metric.better else None


def _best(metric: MetricSpec, runs: "Sequence[Result]", scores: Sequence[Score | None]) -> tuple[int, ...]:
    """The best among two runs or more; none where they do not compare or are all equal."""
    there = [place for place, score in enumerate(scores) if score]
    if not metric.better or len(there) < 2:
        return ()
    if any(run_metrics.incomparable(metric.comparable_by, runs[there[0]], runs[i]) for i in there[1:]):
        return ()
    values = [score.value for score in scores if score]
    best = Score(max(values) if metric.better == "higher" else min(values)).text
    # Equal as printed is equal: nobody sees why one of the two would be marked.
    winners = tuple(place for place, score in enumerate(scores) if score and score.text == best)
    return winners if len(winners) < len(there) else ()


def difference(
    metric: MetricSpec, first: "Result", other: "Result", bootstrap: Bootstrap = BOOTSTRAP
) -> Difference | None:
    """`other` minus `first` on the same clips with a paired interval, or the reason why not.

    None for metrics without a direction.
    """
    if not metric.better:
        return None
    if reason := run_metrics.incomparable(metric.comparable_by, first, other):
        return Difference(None, reason)
    own = metric.by_prompt
    if own is None:
        return _of_draws(metric, first, other)
    if own.table not in first.tables or own.table not in other.tables:
        return Difference(None, f"no table {own.table} in one of the runs")
    a, b = (_by_prompt(own, run.tables[own.table]) for run in (first, other))
    if set(a.index) != set(b.index):
        shared = len(set(a.index) & set(b.index))
        return Difference(None, f"not the same prompts ({len(a)} and {len(b)}, {shared} in both)")
    b = b.loc[a.index]
    if (a["weight"] != b["weight"]).any():
        return Difference(None, "not the same lengths of clips")
    if len(a) < 2:
        return Difference(None, f"{len(a)} prompt: an interval needs at least 2")
    if own.share:
        found = intervals.paired_shares(a["value"].to_numpy() > 0, b["value"].to_numpy() > 0)
    else:
        weights = a["weight"].to_numpy()
        found = intervals.ratio((b["value"] - a["value"]).to_numpy() * weights, weights, bootstrap)
    return Difference(Score(found.value, found.low, found.high, found.n))


def _of_draws(metric: MetricSpec, first: "Result", other: "Result") -> Difference:
    """From the resamples of both runs, which draw the same clips: distances have no per-prompt values."""
    a, b = (run_metrics.score(run, metric.key) for run in (first, other))
    drawn = [run.draws.get(run.scores["audio"]["columns"].get(metric.key)) for run in (first, other)]
    if a is None or b is None or any(draws is None for draws in drawn):
        return Difference(None, NOT_BY_PROMPT)
    if a.n != b.n or a.n is None or len(drawn[0]) != len(drawn[1]):
        return Difference(
            None, f"not as many clips or resamples ({a.n} and {b.n}, {len(drawn[0])} and {len(drawn[1])})"
        )
    found = intervals.centred(b.value - a.value, drawn[1].to_numpy() - drawn[0].to_numpy(), a.n)
    return Difference(Score(found.value, found.low, found.high, found.n))


def _by_prompt(own: ByPrompt, table: pd.DataFrame) -> pd.DataFrame:
    """Value and weight of every prompt that has a value, indexed by id."""
    weights = table[own.weights] if own.weights else np.ones(len(table))
    values = pd.DataFrame({"value": own.values(table).astype(float), "weight": weights}).set_index(table["id"])
    return values.dropna()
