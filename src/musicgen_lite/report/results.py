"""Reading back what the stages wrote: curves and scores, for the page, the terminal and the run in MLflow."""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicgen_lite.io.files import read_json
from musicgen_lite.report.page import ScoreRow, ScoreTable
from musicgen_lite.report.tables import audio_table, gains_table, headline, nll_table, reranking_table


def read_curves(path: Path, timings: Path | None = None) -> list[dict[str, float]]:
    """The training curve, one row per validation, joined by step with the `timings` where that file exists."""
    measured = {row["step"]: row for row in read_json(timings)} if timings and timings.exists() else {}
    with path.open(newline="") as file:
        rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
    return [{**measured.get(row["step"], {}), **row} for row in rows]


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

    def digests(self) -> list[str]:
        """Digests of all details: they tell this result of a training from others of the same training."""
        return [hashlib.sha256(file.read_bytes()).hexdigest() for file in self.details_files]

    def metrics(self) -> dict[str, float]:
        """Every logged metric by its key, for MLflow; the files under metrics/ hold the headline, which DVC prints."""
        found = map(read_json, self.details_files)
        return {column: one["estimates"][name]["value"] for one in found for column, name in one["columns"].items()}

    def details(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Details of the likelihood, and of the audio together with the reference sets."""
        nll, reference, own = map(read_json, self.details_files)
        return nll, {
            "estimates": {**reference["estimates"], **own["estimates"]},
            "notes": {**reference["notes"], **own["notes"]},
        }

    def tables(self, num_codebooks: int) -> tuple[ScoreTable, ...]:
        """The score tables, as the page and the terminal show them."""
        nll, audio = self.details()
        return nll_table(nll, num_codebooks), audio_table(audio), gains_table(self._all()), reranking_table(audio)

    def headline(self) -> tuple[ScoreRow, ...]:
        """The headline metrics, as the page shows them first."""
        return headline(self._all())

    def _all(self) -> dict[str, Any]:
        nll, audio = self.details()
        return {key: {**nll[key], **audio[key]} for key in ("estimates", "notes")}
