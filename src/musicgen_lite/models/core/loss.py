"""The training loss of each cell."""

import torch.nn.functional as F
from torch import Tensor

IGNORE = -100


def cell_nll(logits: Tensor, codes: Tensor, mask: Tensor | None = None) -> Tensor:
    """Negative log-likelihood of each code in nats.

    logits: `[B, N_q, T, K]`; codes: `[B, N_q, T]`; mask: `[B, T]`, True at frames that count, None for all.
    Returns float32 `[B, N_q, T]`, exactly 0 where masked. Sum it and divide by the number of unmasked cells: a mean of
    means would weight clips of unequal length wrongly.
    """
    if mask is not None:
        codes = codes.masked_fill(~mask[:, None], IGNORE)
    # Heads are computed codebook by codebook: in that order flattening is a view and nothing is copied.
    flat = logits.transpose(0, 1).flatten(0, 2)
    nll = F.cross_entropy(flat.float(), codes.transpose(0, 1).flatten(), ignore_index=IGNORE, reduction="none")
    return nll.view(codes.transpose(0, 1).shape).transpose(0, 1)
