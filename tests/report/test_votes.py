"""Preferences are the exact binomial's, and a file that cannot be trusted is refused by line."""

import io
from pathlib import Path

import pytest
from scipy.stats import binomtest

from musicgen_lite.errors import UserError
from musicgen_lite.report.votes import Vote, first_preferred, preferences, print_preferences, read_votes

HEAD = "trial,prompt,first,second,preferred,seed\r\n"


def ballots(wins: int, losses: int, ties: int = 0) -> list[Vote]:
    picks = ["a"] * wins + ["b"] * losses + [""] * ties
    return [Vote(f"p{i}", *(("a", "b") if i % 2 else ("b", "a")), pick) for i, pick in enumerate(picks)]


@pytest.mark.parametrize(("wins", "losses", "ties"), [(9, 2, 3), (0, 5, 0), (7, 7, 1), (12, 0, 0)])
def test_shares_agree_with_scipy_and_ties_do_not_count(wins: int, losses: int, ties: int) -> None:
    (one,) = preferences(ballots(wins, losses, ties))
    assert (one.a, one.b, one.wins, one.losses, one.undecided) == ("a", "b", wins, losses, ties)
    exact = binomtest(wins, wins + losses).proportion_ci(0.95, "exact")
    assert one.share is not None
    assert (one.share.low, one.share.high) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize(
    ("votes", "verdict"),
    [(ballots(12, 0), "a is preferred"), (ballots(1, 11), "b is preferred"), (ballots(7, 6), "not decided"),
     (ballots(0, 0, 4), "no vote prefers one")],
)  # fmt: skip
def test_the_verdict_is_the_intervals(votes: list[Vote], verdict: str) -> None:
    out = io.StringIO()
    print_preferences(votes, out)
    assert verdict in out.getvalue()


def test_a_listener_who_always_takes_the_first_is_seen() -> None:
    votes = [Vote(f"p{i}", *pair, pair[0]) for i, pair in enumerate([("a", "b"), ("b", "a")] * 10)]
    order, (one,) = first_preferred(votes), preferences(votes)
    assert order is not None
    assert one.share is not None
    assert order.low > 0.8
    assert one.share.value == 0.5


def test_files_of_several_listeners_are_read_together(tmp_path: Path) -> None:
    for name, picked in (("one.csv", "run, b"), ("two.csv", "")):
        (tmp_path / name).write_text(f'{HEAD}"1","p","a","run, b","{picked}","0"\r\n', encoding="utf-8-sig")
    votes = read_votes([tmp_path / "one.csv", tmp_path / "two.csv"])
    assert votes == [Vote("p", "a", "run, b", "run, b"), Vote("p", "a", "run, b", "")]


@pytest.mark.parametrize(
    ("text", "message"),
    [("prompt,first\np,a\n", "no column second, preferred"), (HEAD, "holds no vote"),
     (f"{HEAD}1,p,a,b,c,0\n", "line 2: preferred is 'c'"), (f"{HEAD}1,p,a,a,a,0\n", "line 2: a trial needs"),
     (f"{HEAD}1,p,a,b,a,0\n2,p,b,a,a,0\n", "line 3: 'p' was voted on in line 2 already")],
)  # fmt: skip
def test_what_cannot_be_trusted_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_votes([tmp_path / "votes.csv"])
    with pytest.raises(UserError, match="no such file"):
        read_votes([tmp_path / "absent.csv"])
