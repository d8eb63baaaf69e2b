"""What listeners preferred in the blind test, with exact binomial intervals."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rich.table import Table
from rich.text import Text

from musicgen_lite.errors import UserError
from musicgen_lite.io.files import explain
from musicgen_lite.report.page import number
from musicgen_lite.report.summary import open_console
from musicgen_lite.scoring.statistics.intervals import Estimate, proportion

COLUMNS = ("prompt", "first", "second", "preferred")


@dataclass(frozen=True)
class Vote:
    """One trial: the runs played first and second, and the preferred one of the two; empty for neither."""

    prompt: str
    first: str
    second: str
    preferred: str


@dataclass(frozen=True)
class Preference:
    """How often `a` was preferred over `b`. The share is of the votes that prefer one; None where there is none."""

    a: str
    b: str
    wins: int
    losses: int
    undecided: int
    prompts: int

    @property
    def share(self) -> Estimate | None:
        decided = self.wins + self.losses
        return proportion(self.wins, decided) if decided else None


def read_votes(files: Sequence[Path]) -> list[Vote]:
    """The votes of one CSV per listener, as the page exports them.

    Raises UserError naming the file and line for a missing column, a preference for a run that was not in the trial, or a
    trial that occurs twice in one file.
    """
    return [vote for file in files for vote in _read(file)]


def _read(file: Path) -> list[Vote]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; the page's blind test saves it as votes.csv") from None
    except OSError as error:
        raise explain(error, file) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8 text ({error}); save it as UTF-8 CSV") from None
    reader = csv.DictReader(lines)
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise UserError(
            f"{file}: no column {', '.join(missing)}; the blind test of the page writes {', '.join(COLUMNS)}"
        )
    votes: list[Vote] = []
    seen: dict[tuple[str, frozenset[str]], int] = {}
    for row in reader:
        vote = Vote(*((row[name] or "").strip() for name in COLUMNS))
        where = f"{file}, line {reader.line_num}"
        if not (vote.prompt and vote.first and vote.second) or vote.first == vote.second:
            raise UserError(f"{where}: a trial needs a prompt and two different runs, found {vote}")
        if vote.preferred not in (vote.first, vote.second, ""):
            raise UserError(
                f"{where}: preferred is {vote.preferred!r}; allowed are {vote.first!r}, {vote.second!r} or nothing"
            )
        trial = (vote.prompt, frozenset((vote.first, vote.second)))
        if trial in seen:
            raise UserError(f"{where}: {vote.prompt!r} was voted on in line {seen[trial]} already; keep one of the two")
        seen[trial] = reader.line_num
        votes.append(vote)
    if not votes:
        raise UserError(f"{file}: holds no vote")
    return votes


def preferences(votes: Sequence[Vote]) -> list[Preference]:
    """One entry per pair of runs, names in alphabetical order."""
    found = []
    for a, b in sorted({tuple(sorted((vote.first, vote.second))) for vote in votes}):
        own = [vote for vote in votes if {vote.first, vote.second} == {a, b}]
        wins, losses = (sum(vote.preferred == name for vote in own) for name in (a, b))
        prompts = len({vote.prompt for vote in own})
        found.append(Preference(a, b, wins, losses, len(own) - wins - losses, prompts))
    return found


def first_preferred(votes: Sequence[Vote]) -> Estimate | None:
    """The share of decided votes for the clip that was played first: far from 1/2, the order decided, not the runs."""
    decided = [vote for vote in votes if vote.preferred]
    return proportion(sum(vote.preferred == vote.first for vote in decided), len(decided)) if decided else None


def _share_text(share: Estimate | None) -> str:
    return "–" if share is None else f"{number(share.value)}  ({number(share.low)} to {number(share.high)})"


def _verdict(one: Preference) -> str:
    share = one.share
    if share is None:
        return "no vote prefers one"
    if share.low > 0.5:
        return f"{one.a} is preferred"
    if share.high < 0.5:
        return f"{one.b} is preferred"
    return "not decided: 1/2 is in the interval"


def print_preferences(votes: Sequence[Vote], file: TextIO | None = None) -> None:
    """Print the preference of every pair, and whether the order of playing mattered."""
    console = open_console(file)
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("pair", "preferred", "share of the first named", "no preference", "prompts", "at 95 %"):
        grid.add_column(name, justify="left", no_wrap=name == "pair")
    for one in preferences(votes):
        counts = f"{one.wins} : {one.losses}"
        grid.add_row(
            Text(f"{one.a} : {one.b}"),
            counts,
            _share_text(one.share),
            str(one.undecided),
            str(one.prompts),
            Text(_verdict(one)),
        )
    console.print(grid)
    console.print()
    console.print(
        Text(
            f"played first and preferred: {_share_text(first_preferred(votes))} of decided votes; 1/2 where order does not matter"
        )
    )
    note = (
        "Exact binomial (Clopper-Pearson) 95 % intervals over decided votes, each taken as independent of the others."
    )
    console.print(Text(note, style="dim"))
