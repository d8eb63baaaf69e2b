"""NLL by range of frames: sums over sums of tokens, whatever the lengths of clips and windows."""

import numpy as np
import pytest

from musicgen_lite.scoring.likelihood import frames


@pytest.mark.parametrize(
    ("longest", "expected"),
    [
        (1, [0, 1]),
        (10, [0, 10]),
        (76, [0, 10, 25, 50, 76]),
        (250, [0, 10, 25, 50, 100, 150, 200, 250]),
        (301, [0, 10, 25, 50, 100, 150, 200, 250, 300, 301]),
    ],
)
def test_the_last_range_ends_with_the_longest_clip(longest: int, expected: list[int]) -> None:
    assert frames.edges(longest).tolist() == expected


def test_cells_of_windows_fall_into_the_ranges_of_the_clip(rng: np.random.Generator) -> None:
    cells, edges = rng.random((2, 60)), frames.edges(60)
    whole = frames.by_range(cells, 0, edges)
    parts = frames.by_range(cells[:, :17], 0, edges) + frames.by_range(cells[:, 17:], 17, edges)
    np.testing.assert_allclose(
        whole, [[q[a:b].sum() for a, b in ((0, 10), (10, 25), (25, 50), (50, 60))] for q in cells]
    )
    np.testing.assert_allclose(parts, whole)


def test_a_range_holds_the_clips_that_reach_it() -> None:
    lengths, edges = np.array([30, 12, 5]), frames.edges(30)
    cells = [np.stack([np.full(n, 1.0 + row), np.full(n, 10.0)]) for row, n in enumerate(lengths)]
    sums = np.stack([frames.by_range(one, 0, edges) for one in cells])
    found = frames.summary({"caption": sums}, lengths, edges)
    assert (found["edges"], found["clips"]) == ([0, 10, 25, 30], [3, 2, 1])
    first = [(10 * 1 + 10 * 2 + 5 * 3) / 25, (15 * 1 + 2 * 2) / 17, 1.0]
    assert found["nll"]["caption"]["q1"] == pytest.approx(first)
    assert found["nll"]["caption"]["q2"] == pytest.approx([10, 10, 10])
    assert found["nll"]["caption"]["all"] == pytest.approx([(value + 10) / 2 for value in first])
