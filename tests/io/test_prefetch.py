"""Results come in order while the next ones are made."""

import threading
from typing import Any

import pytest

from musicgen_lite.io.prefetch import prefetched


def test_results_come_in_order_and_errors_in_their_turn() -> None:
    found = []
    with pytest.raises(ZeroDivisionError):
        for value in prefetched(lambda x: 6 // x, [1, 2, 3, 0, 6]):
            found.append(value)
    assert found == [6, 3, 2]
    assert list(prefetched(str, [])) == []


def test_the_next_ones_are_made_meanwhile_but_not_more() -> None:
    made = [threading.Event() for _ in range(10)]
    results: Any = prefetched(lambda n: made[n].set(), range(10), ahead=2)
    next(results)
    assert made[1].wait(5)
    assert made[2].wait(5)
    assert not made[3].is_set()
    next(results)
    assert made[3].wait(5)
    results.close()
    assert not made[5].is_set()
