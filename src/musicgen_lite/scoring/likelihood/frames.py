"""NLL by frame: whether a model predicts better the more of a clip it has heard."""

from collections.abc import Mapping
from typing import Any

import numpy as np

# Ranges are short at the start, where the first context is gained, and `STEP` frames long from there on.
FIRST_EDGES = (0, 10, 25, 50)
STEP = 50


def edges(longest: int) -> np.ndarray:
    """The edges of the ranges of frames, from 0 to the number of frames of the longest clip."""
    inner = [*FIRST_EDGES, *range(FIRST_EDGES[-1] + STEP, longest, STEP)]
    return np.array([*(edge for edge in inner if edge < longest), longest])


def by_range(cells: np.ndarray, start: int, edges: np.ndarray) -> np.ndarray:
    """Sums `[N_q, R]` over the frames of each range, of cells `[N_q, T]` whose first frame is `start`."""
    place = np.searchsorted(edges, np.arange(start, start + cells.shape[1]), side="right") - 1
    sums = np.zeros((len(edges) - 1, len(cells)))
    np.add.at(sums, place, cells.T)
    return sums.T


def summary(sums: Mapping[str, np.ndarray], frames: np.ndarray, edges: np.ndarray) -> dict[str, Any]:
    """Nats per token by range of frames, for `details.json`.

    sums: `[n, N_q, R]` of each variant or baseline; frames: `[n]`. `clips` counts those that reach into a range; `all` is
    over all codebooks, `q1` over codebook 1.
    """
    inside = np.clip(frames[:, None] - edges[:-1], 0, np.diff(edges))  # [n, R]
    cells = inside.sum(axis=0)

    def per_token(name: str) -> dict[str, list[float]]:
        total = sums[name].sum(axis=0)
        each = {f"q{q}": (one / cells).tolist() for q, one in enumerate(total, 1)}
        return {"all": (total.sum(axis=0) / (cells * len(total))).tolist(), **each}

    return {
        "edges": edges.tolist(),
        "clips": (inside > 0).sum(axis=0).tolist(),
        "nll": {name: per_token(name) for name in sums},
    }
