"""The metrics of finished runs: their values, and whether two runs compare."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from musicgen_lite.report.page import Score
from musicgen_lite.scoring.metrics import CODEBOOK, NOT_APPLICABLE, ComparabilityKey, MetricSpec, codebook_metric, find

if TYPE_CHECKING:
    from musicgen_lite.tracking import Result


def model_name(params: Mapping[str, str]) -> str:
    """The model of a run, by its parameters: "model A, delay", "MusicGen facebook/musicgen-small, delay", "riffusion, external"."""
    kind = params.get("model.type", "?")
    if kind in ("external", "diffusers"):
        return f"{params.get('model.name', '?')}, {kind}"
    name = f"model {kind.upper()}"
    if kind == "musicgen":
        tuned = params.get("train.steps", "0") != "0"
        name = f"MusicGen{' tuned from' * tuned} {params.get('model.name') or params.get('train.init', '?')}"
    return f"{name}, {params.get('model.pattern', '?')}"


def score(run: "Result", key: str) -> Score | None:
    """A metric of a run with its interval, or None where the run does not have it."""
    for details in run.scores.values():
        if key in details["columns"]:
            return Score.of(details["estimates"][details["columns"][key]])
    return Score(run.metrics[key]) if key in run.metrics else None


def _keys(runs: "Sequence[Result]") -> list[str]:
    """The keys of all metrics that one of the runs has."""
    return list(dict.fromkeys(key for run in runs for details in run.scores.values() for key in details["columns"]))


def codebooks(runs: "Sequence[Result]") -> list[MetricSpec]:
    """NLL of each codebook that one of the runs has, in order."""
    numbers = sorted(int(found[1]) for key in _keys(runs) if (found := CODEBOOK.match(key)))
    return [codebook_metric(number) for number in numbers]


def others(runs: "Sequence[Result]") -> list[MetricSpec]:
    """Metrics of the runs that the registry does not know: shown by their keys, so that none is dropped."""
    return [MetricSpec(key, key) for key in _keys(runs) if find(key) is None]


def incomparable(key: ComparabilityKey, first: "Result", other: "Result") -> str:
    """Why two runs do not compare by what the key names, in words; empty where they do."""
    for what, (stage, path) in key.items():
        a, b = (_at(run.scores[stage]["notes"], path) for run in (first, other))
        if a is None or b is None:
            return f"{(first if a is None else other).name} does not say its {what}"
        if a != b:
            return f"not the same {what} ({a} and {b})"
    return ""


def not_applicable(metric: MetricSpec, run: "Result") -> str:
    """Why a run cannot have a metric at all; empty where it may."""
    reason = run.scores.get(metric.stage, {}).get("notes", {}).get(NOT_APPLICABLE, "")
    return f"not applicable to {run.name}: {reason}" if reason else ""


def _at(notes: Any, path: Sequence[str]) -> Any:
    for name in path:
        notes = notes.get(name) if isinstance(notes, Mapping) else None
    return notes
