"""What the composer knows of a piece, as targets of a classifier."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from musicgen_lite.sources.synthetic import Piece, styles, words
from musicgen_lite.sources.synthetic.compose import KEYS

CHOICES: dict[str, tuple[str, ...]] = {
    "genre": tuple(styles.STYLES),
    "tempo_class": tuple(words.TEMPO_WORDS),
    "mood": tuple(words.MOODS),
    "key": KEYS,
    "mode": tuple(styles.SCALES),
}
PRESENT = (*words.INSTRUMENTS, *words.KITS, "rain")
# Columns of a prediction: the classes of each choice, then one for each thing that is there or not, then the tempo.
WIDTH = sum(map(len, CHOICES.values())) + len(PRESENT) + 1


def targets(pieces: Sequence[Piece]) -> Tensor:
    """float32 `[N, choices + present + 1]`: class indices, 0 or 1, and log2(BPM / 100)."""
    rows = []
    for piece in pieces:
        row = [float(names.index(getattr(piece, choice))) for choice, names in CHOICES.items()]
        there = {*piece.instruments, *(("rain",) if piece.rain else ())}
        row += [float(name in there) for name in PRESENT]
        rows.append([*row, piece.tempo])
    table = torch.tensor(rows)
    table[:, -1] = torch.log2(table[:, -1] / 100.0)
    return table


def loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean cross entropy of the choices, plus those of presences (summed) and the tempo's squared error, per choice."""
    parts, start = [], 0
    for column, names in enumerate(CHOICES.values()):
        stop = start + len(names)
        parts.append(F.cross_entropy(predicted[:, start:stop], target[:, column].long()))
        start = stop
    present = target[:, len(CHOICES) : -1]
    parts.append(F.binary_cross_entropy_with_logits(predicted[:, start:-1], present, reduction="none").sum(1).mean())
    parts.append(F.mse_loss(predicted[:, -1], target[:, -1]) * 4.0)
    return torch.stack(parts).mean()
