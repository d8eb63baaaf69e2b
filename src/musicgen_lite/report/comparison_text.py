"""A comparison in the terminal: one column per run, one row per metric, intervals where there is room."""

from typing import TextIO

from rich.table import Table
from rich.text import Text

from musicgen_lite.report.comparison import Comparison, Difference, Group, Row
from musicgen_lite.report.page import Score
from musicgen_lite.report.run_metrics import model_name
from musicgen_lite.report.summary import ARROWS, bare_table, open_console, print_fitting

BEST = "*"
FOOT = (
    f"{BEST} best; (low to high) 95 % CIs over clips. A difference is the run minus the first run on the same prompts,",
    "with its own paired CI, and ! where the CI excludes 0; for distances (FAD, KAD) both runs draw the same clips.",
    "Of many metrics at 95 %, one in twenty excludes 0 by chance.",
)


def _interval(score: Score, shown: bool) -> tuple[str, str]:
    return (f"  ({score.interval})" if shown and score.interval else "", "dim")


def _score(row: Row, place: int, shown: bool) -> Text:
    score = row.scores[place]
    if score is None:
        return Text("–", style="dim")
    best = place in row.best
    return Text.assemble(
        (f"{score.value:,.0f}" if row.metric.key == "parameters" else score.text, "bold" if best else ""),
        BEST if best else " ", _interval(score, shown),
    )  # fmt: skip


def _difference(one: Difference | None) -> Text:
    if one is None or one.score is None:
        return Text("–", style="dim")
    sign = "+" if one.score.value > 0 else ""
    return Text.assemble(
        (f"{sign}{one.score.text}", "bold" if one.sure else ""), "!" if one.sure else " ", _interval(one.score, True)
    )


def _grid(comparison: Comparison, group: Group, intervals: bool) -> Table:
    """The metrics of one group; the differences keep their intervals, because without one they say nothing."""
    labels = comparison.labels
    grid = bare_table(group.title)
    paired = any(row.paired for row in group.rows)
    grid.add_column(Text("metric"), no_wrap=True)
    for label in labels:
        grid.add_column(Text(label), justify="right", no_wrap=True)
    for label in labels[1:] if paired else ():
        grid.add_column(Text(f"{label} − first"), justify="right", no_wrap=True)
    grid.add_column(Text("n"), justify="right", style="dim")
    for row in group.rows:
        cells = [_score(row, place, intervals) for place in range(len(labels))]
        cells += [_difference(one) for one in row.differences] if paired else []
        name = Text.assemble(row.metric.key, (ARROWS[row.metric.better], "dim"))
        grid.add_row(name, *cells, Text(row.counts))
    return grid


def comparison_text(comparison: Comparison, file: TextIO | None = None) -> None:
    """Print the comparison: coloured in a terminal, plain aligned text elsewhere."""
    console = open_console(file)
    for place, (label, run) in enumerate(zip(comparison.labels, comparison.runs, strict=True)):
        first = "  (the first)" if not place and len(comparison.runs) > 1 else ""
        console.print(
            Text.assemble(
                (label, "bold"), f"  {model_name(run.params)}, {run.run_id[:8]}, {run.started:%Y-%m-%d %H:%M}{first}"
            )
        )
    for group in comparison.groups:
        console.print()
        print_fitting(console, [_grid(comparison, group, intervals) for intervals in (True, False)])
    console.print()
    for line in FOOT if len(comparison.runs) > 1 else FOOT[:0]:
        console.print(Text(line, style="dim"))
    if comparison.picking:
        console.print(Text(comparison.picking))
    for label, reason in comparison.withheld:
        console.print(Text(f"withheld for {label}: {reason}"))
