"""Reading back what the stages wrote: curves and scores, for the page, the terminal and the run in MLflow."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicgen_lite.io.files import read_json
from musicgen_lite.report.page import ScoreTable
from musicgen_lite.report.tables import audio_table, gains_table, nll_table, reranking_table


def read_curves(path: Path) -> list[dict[str, float]]:
    """The training curve, one row a validation."""
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


@dataclass(frozen=True)
class ScoreFolders:
    """Where the scoring stages wrote `details.json`: likelihood, reference sets, generated audio."""

    nll: Path
    reference: Path
    audio: Path

    @property
    def details_files(self) -> tuple[Path, Path, Path]:
        nll, reference, audio = (folder / "details.json" for folder in (self.nll, self.reference, self.audio))
        return nll, reference, audio

    def metrics(self) -> dict[str, float]:
        """Every metric by its short name, for MLflow; the files under metrics/ hold the few that DVC prints."""
        found = map(read_json, self.details_files)
        return {column: one["estimates"][name]["value"] for one in found for column, name in one["columns"].items()}

    def details(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Details of the likelihood, and of the audio with those of the reference sets beside."""
        nll, reference, own = map(read_json, self.details_files)
        return nll, {
            "estimates": {**reference["estimates"], **own["estimates"]},
            "notes": {**reference["notes"], **own["notes"]},
        }

    def tables(self, num_codebooks: int) -> tuple[ScoreTable, ...]:
        """The score tables, as the page and the terminal show them."""
        nll, audio = self.details()
        both = {key: {**nll[key], **audio[key]} for key in ("estimates", "notes")}
        return nll_table(nll, num_codebooks), audio_table(audio), gains_table(both), reranking_table(audio)
