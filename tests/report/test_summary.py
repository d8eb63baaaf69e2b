"""The summary is plain text in a pipe, and whole."""

import io
import re

import pytest

from musicgen_lite.report.page import PageData, Score, ScoreRow, ScoreTable
from musicgen_lite.report.summary import terminal_summary

COMMANDS = (("make ui", "open MLflow at the comparison"), ("dvc exp run -S model.type=a", "train the other model"))


def printed(page: PageData) -> str:
    out = io.StringIO()
    terminal_summary(page.title, page.tables, COMMANDS, out)
    return out.getvalue()


def test_a_pipe_gets_plain_aligned_text(page: PageData) -> None:
    lines = printed(page).splitlines()
    assert lines[0] == "gusty-fern-b"
    assert not any("\x1b" in line for line in lines)
    assert max(map(len, lines)) <= 160
    (nll,) = [line for line in lines if line.startswith("NLL")]
    expected = "NLL, nats per token ↓ 4.738 (4.707 to 4.769) 4.829 (4.796 to 4.862) 4.781 (4.751 to 4.811) 5.121 5.442 5.545 128"
    assert " ".join(nll.split()) == expected
    (kad,) = [line for line in lines if line.startswith("KAD")]
    assert "0.00412  (0.00362 to 0.00462)" in kad
    assert "–" in kad
    for command, purpose in COMMANDS:
        assert any(command in line and purpose in line for line in lines)


def test_every_score_of_every_table_is_there(page: PageData) -> None:
    text = printed(page)
    for table in page.tables:
        assert table.title in text
        for row in table.rows:
            assert row.name in text
            assert all(score.text in text for score in row.scores if score)


def test_square_brackets_are_text(page: PageData) -> None:
    table = ScoreTable("NLL [B, T]", ("[red]model",), (ScoreRow("[bold]x", (Score(1.0),)),))
    out = io.StringIO()
    terminal_summary("[run]", (table,), (), out)
    assert all(part in out.getvalue() for part in ("[run]", "NLL [B, T]", "[red]model", "[bold]x"))


def test_baselines_show_their_intervals_where_the_line_holds_them() -> None:
    table = ScoreTable("CLAP", ("picked", "random"), (ScoreRow("CLAP", (Score(0.3, 0.2, 0.4), Score(0.1, 0, 0.2))),))
    out = io.StringIO()
    terminal_summary("run", (table,), (), out)
    assert "0.300  (0.200 to 0.400)  0.100  (0.000 to 0.200)" in out.getvalue()


def test_a_terminal_gets_colours_within_its_width(page: PageData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    text = printed(page)
    assert "\x1b[" in text
    assert max(len(re.sub("\x1b\\[[0-9;]*m", "", line)) for line in text.splitlines()) <= 100
    assert "(4.707 to 4.769)" in text
