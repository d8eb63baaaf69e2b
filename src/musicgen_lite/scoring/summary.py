"""What a score hands on: few columns for comparison, and everything behind them beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from musicgen_lite.scoring.intervals import Estimate, rounded


@dataclass
class Scores:
    """Estimates by name, tables with a row per item, and notes (embedders, baselines, counts, what was withheld and why).

    `columns` maps the short names of the metric columns to estimates; plain counts go in as numbers. `draws` holds the
    bootstrap replicates `[B]` of estimates that no table can be resampled for. Two results on one reference were
    resampled alike: the difference of their draws gives the interval of A - B (`intervals.centred`).
    """

    estimates: dict[str, Estimate] = field(default_factory=dict)
    columns: dict[str, str | float] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    draws: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, estimates: Mapping[str, Estimate], columns: Mapping[str, str | float] | None = None) -> None:
        """Add estimates, and the columns that show some of them."""
        self.estimates |= estimates
        self.columns |= columns or {}

    def update(self, other: "Scores") -> None:
        """Take over everything from `other`."""
        for name in ("estimates", "columns", "tables", "notes", "draws"):
            getattr(self, name).update(getattr(other, name))

    def renamed(self, suffix: str) -> "Scores":
        """The same with `suffix` behind every name."""

        def rename(values: Mapping[str, Any]) -> dict[str, Any]:
            return {f"{name}{suffix}": value for name, value in values.items()}

        columns = {k: f"{v}{suffix}" if isinstance(v, str) else v for k, v in self.columns.items()}
        return Scores(
            rename(self.estimates), rename(columns), rename(self.tables), rename(self.notes), rename(self.draws)
        )

    @property
    def metrics(self) -> dict[str, float]:
        """The columns: short name to a value of 6 significant digits."""
        values = {k: self.estimates[v].value if isinstance(v, str) else float(v) for k, v in self.columns.items()}
        return {name: rounded(value) for name, value in values.items()}

    @property
    def draws_table(self) -> pd.DataFrame:
        """The draws, a column an estimate."""
        return pd.DataFrame(self.draws)

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
