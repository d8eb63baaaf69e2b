"""What a score hands on: the metrics by which runs are compared, and everything behind them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from musicgen_lite.io.files import atomic_dir, write_json, write_table
from musicgen_lite.scoring.metrics import HEADLINE
from musicgen_lite.scoring.statistics.intervals import Estimate, rounded

DRAWS = Path("draws/distances.parquet")  # in the folder of the scores


@dataclass
class Scores:
    """Estimates by name, tables with one row per item, and notes (embedders, baselines, counts, what is withheld and why).

    `columns` maps the keys of the logged metrics to estimates, as `scoring.metrics.columns` gives them. `draws` holds the
    bootstrap replicates `[B]` of estimates that have no per-prompt values. Two results on one reference use the same
    resamples: the difference of their draws gives the interval of A - B (`intervals.centred`).
    """

    estimates: dict[str, Estimate] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    draws: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, estimates: Mapping[str, Estimate]) -> None:
        """Add estimates."""
        self.estimates |= estimates

    def update(self, other: "Scores") -> None:
        """Add everything of `other`."""
        for name in ("estimates", "columns", "tables", "notes", "draws"):
            getattr(self, name).update(getattr(other, name))

    def renamed(self, suffix: str) -> "Scores":
        """The same without columns, with `suffix` behind every name."""

        def rename(values: Mapping[str, Any]) -> dict[str, Any]:
            return {f"{name}{suffix}": value for name, value in values.items()}

        return Scores(rename(self.estimates), {}, rename(self.tables), rename(self.notes), rename(self.draws))

    @property
    def metrics(self) -> dict[str, float]:
        """The value of every logged metric, to 6 significant digits."""
        return {column: rounded(self.estimates[name].value) for column, name in self.columns.items()}

    @property
    def headline(self) -> dict[str, float]:
        """Those of the metrics that are in the headline, to 4 significant digits: more is noise, and columns get wide."""
        return {column: rounded(value, 4) for column, value in self.metrics.items() if column in HEADLINE}

    @property
    def draws_table(self) -> pd.DataFrame:
        """The draws, one column per estimate."""
        return pd.DataFrame(self.draws)

    def write(self, folder: Path) -> None:
        """Write everything behind the metrics: `details.json`, one Parquet table per score, and the draws."""
        with atomic_dir(folder) as part:
            write_json(part / "details.json", self.details)
            for name, table in self.tables.items():
                write_table(part / f"{name}.parquet", table)
            if self.draws:
                write_table(part / DRAWS, self.draws_table)

    @property
    def details(self) -> dict[str, Any]:
        """Everything but the tables, ready for JSON: each estimate with its interval and n, and the notes."""
        estimates = {name: estimate.as_dict() for name, estimate in self.estimates.items()}
        return {"estimates": estimates, "columns": dict(self.columns), "notes": _plain(self.notes)}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return rounded(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
