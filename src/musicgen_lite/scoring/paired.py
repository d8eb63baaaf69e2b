"""A - B: what two results differ by, paired over the same clips and prompts, from the files that their scores left.

Pairs take away what makes clips differ from each other, so that the interval is that of the difference alone: two
results whose own intervals overlap may well be told apart.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from musicgen_lite.scoring import intervals
from musicgen_lite.scoring.intervals import Estimate
from musicgen_lite.scoring.summary import DRAWS
from musicgen_lite.store import read_json

# Figure: its table, its column, and the column that weights clips, if any.
PER_CLIP = {
    "nll": ("nll", "caption", "frames"),
    "nll_prompt": ("nll", "caption+prompt", "frames"),
    "clap": ("clap", "own", ""),
    "judge": ("judge", "own", ""),
    "diversity": ("clap", "diversity", ""),
    "nearest": ("nearest", "nearest", ""),
    "prompt_sim": ("prompt_similarity", "own", ""),
    "chroma": ("chroma", "own", ""),
    "tempo": ("signals", "tempo_hit", ""),
    "silent": ("signals", "silent", ""),
}
DISTANCES = ("fad", "kad")


@dataclass(frozen=True)
class Result:
    """What `score_nll` and `score_audio` left of one result: tables by name, bootstrap draws by estimate, details."""

    tables: dict[str, pd.DataFrame]
    draws: dict[str, np.ndarray]
    estimates: dict[str, dict[str, Any]]
    notes: dict[str, Any]

    @classmethod
    def read(cls, folder: str | Path) -> "Result":
        """Read a folder that holds `nll/` and `audio/`; UserError names what is missing or damaged."""
        nll, audio = Path(folder) / "nll", Path(folder) / "audio"
        details = [read_json(part / "details.json") for part in (nll, audio)]
        tables = {file.stem: pd.read_parquet(file) for part in (nll, audio) for file in sorted(part.glob("*.parquet"))}
        draws = pd.read_parquet(audio / DRAWS)
        return cls(
            tables, {name: draws[name].to_numpy() for name in draws},
            details[0]["estimates"] | details[1]["estimates"], details[0]["notes"] | details[1]["notes"],
        )  # fmt: skip


def differences(
    a: Result, b: Result, bootstrap: int, seed: int, suffix: str = ""
) -> tuple[dict[str, Estimate], dict[str, str]]:
    """Each figure of `a` less that of `b` with its 95 % interval, and why others are withheld, by name.

    Means are resampled over the clips that both have scored; both must have scored the same ones. FAD and KAD are
    subtracted draw by draw: both results were resampled alike, against the same reference. `suffix` is "_prompted" for
    the samples with audio prompts. What neither result has measured is left out.
    """
    found: dict[str, Estimate] = {}
    withheld: dict[str, str] = {}
    for name, (table, column, weight) in PER_CLIP.items():
        place = table if table == "nll" else f"{table}{suffix}"
        columns = [one.tables.get(place, pd.DataFrame()) for one in (a, b)]
        if not any(column in one for one in columns):
            continue
        if not all(column in one for one in columns):
            withheld[name] = f"only {'A' if column in columns[0] else 'B'} has measured it"
            continue
        ours, theirs = (_measured(one, column) for one in columns)
        if list(ours.index) != list(theirs.index) or len(ours) < 2:
            withheld[name] = f"not over the same clips, 2 at least: {len(ours)} of A, {len(theirs)} of B"
            continue
        weights = ours[weight].to_numpy(np.float64) if weight else np.ones(len(ours))
        apart = ours[column].to_numpy(np.float64) - theirs[column].to_numpy(np.float64)
        found[name] = intervals.ratio(apart * weights, weights, bootstrap, seed)
    for space, title in ((space, title) for space in _spaces(a) & _spaces(b) for title in DISTANCES):
        name, key = title if space == "clap" else f"{title}_{space}", f"{space}_{title}_generated{suffix}"
        if key not in a.draws or key not in b.draws:
            continue
        reason = _unlike(a, b, f"{space}{suffix}", key)
        if reason:
            withheld[name] = reason
            continue
        apart = a.draws[key] - b.draws[key]
        value = a.estimates[key]["value"] - b.estimates[key]["value"]
        found[name] = intervals.centred(value, apart, a.estimates[key]["n"])
    return found, withheld


def _measured(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The clips that a figure counts, by id: for tempo those whose caption states one."""
    return (table[table["stated_bpm"].notna()] if column == "tempo_hit" else table).set_index("id").sort_index()


def _spaces(one: Result) -> set[str]:
    return {key.split("_")[0] for key in one.draws}


def _unlike(a: Result, b: Result, space: str, key: str) -> str:
    """Why the draws of two results cannot be subtracted; empty where they can."""
    for what in ("fingerprint", "reference"):
        if a.notes[space][what] != b.notes[space][what]:
            return f"another {what}: measured by another ruler or against other clips"
    if len(a.draws[key]) != len(b.draws[key]) or a.estimates[key]["n"] != b.estimates[key]["n"]:
        return "another number of clips or resamples (score.bootstrap)"
    return ""
