"""A pointer head: it may predict a code by pointing at an earlier cell of the clip that holds it.

Music returns, bar by bar and loop by loop. A decoder has to learn attention that finds what returns, values that carry its
codes, and a head that reads them again, all at once; here the codes are taken as they are, and only the finding is
learned. Pointer networks (Vinyals et al. 2015, arXiv:1506.03134), mixed with a softmax over the vocabulary (Merity et al.
2016, arXiv:1609.07843).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musicgen_lite.patterns import Layout

TEMPERATURE = 8.0  # factor of the cosines at the start
GATE_BIAS = -2.0  # at the start a tenth of the probability points
QUERY_STD = 0.05
TINY = 1e-9


@dataclass
class PointerCache:
    """What a decoding can point at: keys `[B, N_q, T, p]`, and the codes `[B, N_q, T]` of the cells that are known."""

    keys: Tensor
    codes: Tensor

    def first(self, rows: int) -> "PointerCache":
        """That of the first rows of the batch; it writes into the same memory."""
        return PointerCache(self.keys[:rows], self.codes[:rows])

    def record(self, cells: Tensor, layout: Layout, step: int) -> None:
        """Put the codes of a step's cells `[B, C]` into the cache; there is no step before the first."""
        for slot, codebook, frame in layout.cells_of[step] if step >= 0 else ():
            self.codes[:, codebook, frame] = cells[:, slot]


@dataclass(frozen=True)
class Slots:
    """The cells of steps, by codebook and frame, `[S, C]` each. That of an empty slot has a frame which no clip reaches."""

    codebook: Tensor
    frame: Tensor

    def of(self, step: Tensor) -> "Slots":
        """Those of one step, `[C]` each; step: `[1]`, on the device."""
        return Slots(self.codebook[step][0], self.frame[step][0])


class PointerHead(nn.Module):
    """Mixes each cell's distribution over K codes with one over the earlier cells of the same codebook.

    A cell attends to earlier ones by the cosine of their hidden states, which have read all that came before a cell and
    not the cell itself: where the music before was alike, the code that followed is likely again.
    """

    def __init__(self, num_codebooks: int, d_model: int, dim: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(num_codebooks, d_model, dim))
        self.key = nn.Parameter(torch.empty(num_codebooks, d_model, dim))
        self.gate = nn.Parameter(torch.empty(num_codebooks, d_model))
        self.gate_bias = nn.Parameter(torch.empty(num_codebooks))
        self.temperature = nn.Parameter(torch.empty(num_codebooks))  # its logarithm

    def initialise(self) -> None:
        """Draw the weights; keys start as queries, so that equal states find each other from the first step."""
        nn.init.normal_(self.query, std=QUERY_STD)
        self.key.data.copy_(self.query.data)
        nn.init.zeros_(self.gate)
        nn.init.constant_(self.gate_bias, GATE_BIAS)
        nn.init.constant_(self.temperature, math.log(TEMPERATURE))

    def forward(self, logits: Tensor, hidden: Tensor, codes: Tensor) -> Tensor:
        """Log-probabilities `[N_q, B, T, K]` from logits of that shape, hidden states `[N_q, B, T, d]`, codes `[B, N_q, T]`.

        Of codes outside of the codebook, such as the special id of padding, none is ever pointed at.
        """
        weights = self._weights(hidden)
        pointed = torch.matmul(weights, self._one_hot(codes.transpose(0, 1), logits.shape[-1]))
        # The first frame has nothing before it.
        first = F.log_softmax(logits[:, :, :1].float(), -1)
        return torch.cat([first, mix(logits[:, :, 1:], pointed, self._gate(hidden)[:, :, 1:])], dim=2)

    def nll(self, nll: Tensor, hidden: Tensor, codes: Tensor) -> Tensor:
        """NLL `[B, N_q, T]` of the mixture, from that of the softmax; hidden states and codes as in `forward`."""
        codes = codes.transpose(0, 1)
        same = codes[:, :, 1:, None] == codes[:, :, None]
        pointed = (self._weights(hidden) * same).sum(-1)
        gate = self._gate(hidden)[:, :, 1:, 0]
        mixed = -torch.logaddexp(F.logsigmoid(-gate) - nll.transpose(0, 1)[:, :, 1:], share(pointed, gate))
        return torch.cat([nll[:, :, :1], mixed.transpose(0, 1)], dim=2)

    def _weights(self, hidden: Tensor) -> Tensor:
        """How much each cell after the first attends to its codebook's cells, `[N_q, B, T - 1, T]`: to earlier ones alone."""
        queries, keys = self._project(hidden[:, :, 1:], self.query), self._project(hidden, self.key)
        scores = torch.matmul(queries, keys.transpose(2, 3)) * self.temperature.float().exp()[:, None, None, None]
        frames = hidden.shape[2]
        later = torch.ones(frames, frames, dtype=torch.bool, device=hidden.device).triu()[1:]
        return scores.masked_fill(later, -torch.inf).softmax(-1)

    def _project(self, hidden: Tensor, weight: Tensor) -> Tensor:
        """Unit vectors `[N_q, B, T, p]`, in float32."""
        return F.normalize(torch.matmul(hidden, weight[:, None]).float(), dim=-1)

    def _gate(self, hidden: Tensor) -> Tensor:
        """How much of each cell's distribution points, as a logit `[N_q, B, T, 1]`."""
        return (torch.matmul(hidden, self.gate[:, None, :, None]).float()) + self.gate_bias[:, None, None, None].float()

    def _one_hot(self, codes: Tensor, size: int) -> Tensor:
        return F.one_hot(codes.clamp_max(size), size + 1)[..., :size].float()

    def new_cache(self, rows: int, frames: int) -> PointerCache:
        """A cache for `rows` clips of `frames` frames."""
        count, _, dim = self.query.shape
        return PointerCache(
            self.query.new_zeros(rows, count, frames, dim, dtype=torch.float32),
            torch.zeros(rows, count, frames, dtype=torch.int64, device=self.query.device),
        )

    def fill(self, cache: PointerCache, hidden: Tensor, sequence: Tensor, layout: Layout) -> None:
        """Put the first steps into the cache: hidden states `[B, S', d]` and cells `[B, S', C]`."""
        # As many of each codebook's cells as these steps hold, counted on the host: a mask on a GPU would be waited for.
        counts = (layout.host_step < sequence.shape[1]).sum(axis=1).tolist()
        for codebook, count in enumerate(counts):
            steps = layout.step[codebook, :count]
            cache.codes[:, codebook, : len(steps)] = sequence[:, steps, codebook % layout.cells]
            keys = self._project(hidden[None, :, steps], self.key[codebook, None])
            cache.keys[:, codebook, : len(steps)] = keys[0]

    def step(
        self, logits: Tensor, hidden: Tensor, cells: Tensor, cache: PointerCache, layout: Layout, step: int
    ) -> Tensor:
        """Log-probabilities `[B, C, K]` of one step from logits of that shape and hidden states `[B, d]`.

        cells: `[B, C]`, those of the step before, which go into the cache, as do the keys of this step.
        """
        cache.record(cells, layout, step - 1)
        out = F.log_softmax(logits.float(), -1)
        for slot, codebook, frame in layout.cells_of[step]:
            state = hidden[None, :, None]  # [1, B, 1, d]
            if frame:
                query = self._project(state, self.query[codebook, None])[0]  # [B, 1, p]
                scores = torch.matmul(query, cache.keys[:, codebook, :frame].mT)
                weights = (scores * self.temperature[codebook].exp()).softmax(-1)
                pointed = torch.matmul(weights, self._one_hot(cache.codes[:, codebook, :frame], logits.shape[-1]))
                gate = (hidden @ self.gate[codebook]).float() + self.gate_bias[codebook]
                out[:, slot] = mix(logits[:, slot], pointed[:, 0], gate[:, None])
            cache.keys[:, codebook, frame] = self._project(state, self.key[codebook, None])[0, :, 0]
        return out

    def step_at(
        self, logits: Tensor, hidden: Tensor, cells: Tensor, cache: PointerCache, before: Slots, now: Slots
    ) -> Tensor:
        """As `step`, of which nothing waits for the host: what the steps hold, the one before and this one, are tensors.

        The cache has room for a frame more than the clip, where the codes of empty slots go.
        """
        count, frames = cache.codes.shape[1:]
        cache.codes.flatten(1).index_copy_(1, before.codebook * frames + before.frame, cells)
        state = hidden[None, :, None]  # [1, B, 1, d]
        queries = self._project(state, self.query[now.codebook]).transpose(0, 1)  # [B, C, 1, p]
        every = len(now.codebook) == count
        keys = cache.keys if every else cache.keys[:, now.codebook]
        codes = cache.codes if every else cache.codes[:, now.codebook]
        scores = torch.matmul(queries, keys.mT)[:, :, 0] * self.temperature[now.codebook].float().exp()[:, None]
        # At the first frame nothing is earlier: one cell is left, so that there is no NaN, and the result is not taken.
        earlier = torch.arange(frames, device=hidden.device) < now.frame.clamp_min(1)[:, None]
        weights = scores.masked_fill(~earlier, -torch.inf).softmax(-1)
        gate = (hidden @ self.gate[now.codebook].T).float() + self.gate_bias[now.codebook].float()
        mixed = mix(logits, summed(weights, codes, logits.shape[-1]), gate[:, :, None])
        new = self._project(state, self.key[now.codebook])[:, :, 0].transpose(0, 1)
        cache.keys.flatten(1, 2).index_copy_(1, now.codebook * frames + now.frame, new)
        return torch.where((now.frame > 0)[:, None], mixed, F.log_softmax(logits.float(), -1))


def mix(logits: Tensor, pointed: Tensor, gate: Tensor) -> Tensor:
    """Log-probabilities of a softmax over `[..., K]` and of `pointed` probabilities; gate: the logit of the latter's share."""
    softmax = F.log_softmax(logits.float(), -1) + F.logsigmoid(-gate)
    return torch.logaddexp(softmax, share(pointed, gate))


def summed(weights: Tensor, codes: Tensor, size: int) -> Tensor:
    """Sums `[..., K]` of the weights `[..., T]` of each code; codes of K and above count for none.

    Equal to a product with one-hot vectors, which would take K times the memory. Accumulating `index_put_` adds in one order on
    a GPU, `scatter_add_` does not.
    """
    rows = torch.arange(weights.shape[:-1].numel(), device=weights.device)[:, None] * (size + 1)
    places = rows + codes.clamp_max(size).flatten(0, -2)
    sums = weights.new_zeros(rows.numel() * (size + 1))
    sums.index_put_((places.flatten(),), weights.flatten(), accumulate=True)
    return sums.view(*weights.shape[:-1], size + 1)[..., :size]


def share(pointed: Tensor, gate: Tensor) -> Tensor:
    """Logarithm of what `pointed` probabilities add to the mixture."""
    return (pointed + TINY).log() + F.logsigmoid(gate)
