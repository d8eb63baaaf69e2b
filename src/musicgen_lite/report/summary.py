"""The summary that ends a run in the terminal: its scores and what to do next."""

import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from musicgen_lite.report.page import Score, ScoreTable

# Outside a terminal, lines are this long.
PLAIN_WIDTH = 160
HEADER_WIDTH = 9
ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}


def _cell(score: Score | None, interval: bool) -> Text:
    if score is None:
        return Text("–", style="dim")
    return Text.assemble(score.text, (f"  ({score.interval})" if interval and score.interval else "", "dim"))


def bare_table(title: str) -> Table:
    """A table without lines, its title above at the left."""
    return Table(
        box=None,
        title=Text(title),
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )


def _grid(scores: ScoreTable, intervals: int) -> Table:
    """The table with intervals in its first `intervals` columns; headers wrap to the width of their values."""
    rows = [
        [
            Text.assemble(row.name, (ARROWS[row.better], "dim")),
            *(_cell(score, position < intervals) for position, score in enumerate(row.scores)),
            Text(row.counts, style="dim"),
        ]
        for row in scores.rows
    ]
    grid = bare_table(scores.title)
    for position, name in enumerate(("score", *scores.columns, "n")):
        width = max((len(row[position]) for row in rows), default=1)
        header = textwrap.fill(name, max(width, HEADER_WIDTH), break_long_words=False)
        grid.add_column(Text(header), justify="right" if position else "left", style="bold" if position == 1 else "")
    for cells in rows:
        grid.add_row(*cells)
    return grid


def open_console(file: TextIO | None) -> Console:
    """Coloured in a terminal, plain text of a fixed width elsewhere; stdout without a file."""
    console = Console(file=file or sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def print_fitting(console: Console, grids: Iterable[Table]) -> None:
    """Print the first table that fits the console, else the last one, which is then wider than the console."""
    needed, grid = 0, Table()
    for grid in grids:
        needed = console.measure(grid, options=console.options.update(width=9999)).maximum
        if needed <= console.width:
            break
    console.print(grid, width=max(needed, console.width), crop=False)


def print_table(scores: ScoreTable, console: Console) -> None:
    """Print one table; a narrow terminal loses the intervals of the baselines first, then those of the run, never values."""
    if not scores.rows:
        console.print(Text.assemble((scores.title, "bold"), f": {scores.note}"))
        return
    print_fitting(console, [_grid(scores, intervals) for intervals in (len(scores.columns), 1, 0)])


def terminal_summary(
    title: str, tables: Sequence[ScoreTable], commands: Sequence[tuple[str, str]], file: TextIO | None = None
) -> None:
    """Print score tables, then (command, what it does) pairs: coloured in a terminal, plain aligned text elsewhere."""
    console = open_console(file)
    console.print(Text(title, style="bold"))
    for scores in tables:
        console.print()
        print_table(scores, console)
    console.print()
    console.print(Text("Next", style="bold"))
    steps = Table.grid(padding=(0, 3, 0, 0))
    for command, purpose in commands:
        steps.add_row(Text(f"  {command}", style="cyan"), Text(purpose))
    console.print(steps)
