"""Reading back what the stages wrote: curves and scores, for the page, the terminal and the row in MLflow."""

import csv
from typing import Any

from musicgen_lite.report.page import ScoreTable
from musicgen_lite.report.tables import audio_table, gains_table, nll_table, reranking_table
from musicgen_lite.store import read_json
from stages.common import CURVES, SCORES_AUDIO, SCORES_NLL, SCORES_REFERENCE

DETAILS = tuple(folder / "details.json" for folder in (SCORES_NLL, SCORES_REFERENCE, SCORES_AUDIO))


def curves() -> list[dict[str, float]]:
    """The training curve, one row a validation."""
    with CURVES.open(newline="") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def metrics() -> dict[str, float]:
    """Every figure by its short name, for MLflow; the files under metrics/ hold the few that DVC prints."""
    found = map(read_json, DETAILS)
    return {column: one["estimates"][name]["value"] for one in found for column, name in one["columns"].items()}


def details() -> tuple[dict[str, Any], dict[str, Any]]:
    """Details of the likelihood, and of the audio with those of the reference sets beside."""
    nll, reference, own = map(read_json, DETAILS)
    return nll, {"estimates": {**reference["estimates"], **own["estimates"]}, "notes": own["notes"]}


def tables(num_codebooks: int) -> tuple[ScoreTable, ...]:
    """The score tables, as the page and the terminal show them."""
    nll, audio = details()
    both = {"estimates": {**nll["estimates"], **audio["estimates"]}}
    return nll_table(nll, num_codebooks), audio_table(audio), gains_table(both), reranking_table(audio)
