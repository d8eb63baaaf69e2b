"""Residual vector quantisation trained by exponential moving averages, written into transformers' own codebooks.

transformers' EncodecModel can encode and decode with its codebooks but never updates them. The update is that of
van den Oord et al. 2017 (VQ-VAE, appendix A.1) with the k-means start and the replacement of unused vectors of
Zeghidour et al. 2021 (SoundStream, section III-C).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Index `[N]` of the nearest row of `codebook` `[K, D]` for each of `vectors` `[N, D]`, by Euclidean distance."""
    return (vectors @ codebook.t() - 0.5 * codebook.pow(2).sum(1)).argmax(1)


def kmeans(vectors: Tensor, centres: Tensor, iterations: int) -> Tensor:
    """Lloyd's algorithm on `vectors` `[N, D]` from `centres` `[K, D]`; a centre without members moves onto the vector
    that is worst served."""
    for _ in range(iterations):
        index = nearest(vectors, centres)
        sums = torch.zeros_like(centres).index_add_(0, index, vectors)
        counts = torch.bincount(index, minlength=len(centres)).unsqueeze(1)
        new = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
        empty = (counts == 0).squeeze(1).nonzero().squeeze(1)
        if len(empty):
            error = (vectors - centres[index]).pow(2).sum(1)
            new[empty] = vectors[error.topk(len(empty)).indices]
        centres = new
    return centres


def perplexity(index: Tensor, size: int) -> float:
    """exp of the entropy of how often each of `size` codes occurs in `index`."""
    share = torch.bincount(index.flatten(), minlength=size).float() / index.numel()
    return float(torch.exp(-(share * share.clamp(min=1e-12).log()).sum()))


@dataclass(frozen=True)
class Quantised:
    """`latents` `[B, D, T]` with a straight-through gradient, `codes` `[B, N_q, T]`, and the commitment loss."""

    latents: Tensor
    codes: Tensor
    commitment: Tensor


class EmaQuantiser:
    """Trains `model.quantizer` of an EncodecModel in place.

    decay: of the moving averages; expiry: a vector whose average count falls below this share of the mean count is
    replaced by a random residual of the batch.
    """

    def __init__(self, layers: Iterable[Any], decay: float, expiry: float) -> None:
        self.books: list[Any] = [layer.codebook for layer in layers]
        self.decay = decay
        self.expiry = expiry

    @torch.no_grad()
    def start(self, latents: Tensor, iterations: int, generator: torch.Generator | None) -> None:
        """Fit each codebook in turn by k-means to what the ones before leave of `latents` `[N, D]`.

        With a generator the centres start on random vectors, without one on the present codebooks.
        """
        residual = latents
        for book in self.books:
            size = len(book.embed)
            centres = book.embed
            if generator is not None:
                centres = residual[torch.randperm(len(residual), generator=generator)[:size]]
            centres = kmeans(residual, centres.clone(), iterations)
            index = nearest(residual, centres)
            share = torch.bincount(index, minlength=size).float() / len(residual)
            self._write(book, centres * share.unsqueeze(1).clamp(min=1e-6), share.clamp(min=1e-6))
            residual = residual - book.embed[index]

    @staticmethod
    def _write(book: Any, sums: Tensor, counts: Tensor) -> None:
        book.embed_avg.copy_(sums)
        book.cluster_size.copy_(counts)
        book.embed.copy_(sums / counts.unsqueeze(1))

    def __call__(self, latents: Tensor, update: bool, generator: torch.Generator) -> Quantised:
        """Quantise `latents` `[B, D, T]`; with `update` the codebooks follow the batch afterwards."""
        batch, _, frames = latents.shape
        residual = latents.transpose(1, 2).reshape(batch * frames, -1)
        total, codes = torch.zeros_like(residual), []
        commitment = residual.new_zeros(())
        for book in self.books:
            flat = residual.detach()
            index = nearest(flat, book.embed)
            chosen = F.embedding(index, book.embed)
            commitment = commitment + F.mse_loss(residual, chosen)
            if update:
                self.update(book, flat, index, generator)
            # Only the last residual's gradient would differ; each level pulls the encoder towards its own choice.
            residual = residual - chosen
            total = total + chosen
            codes.append(index.view(batch, frames))
        quantised = total.view(batch, frames, -1).transpose(1, 2)
        through = latents + (quantised - latents).detach()
        return Quantised(through, torch.stack(codes, dim=1), commitment / len(self.books))

    @torch.no_grad()
    def update(self, book: Any, vectors: Tensor, index: Tensor, generator: torch.Generator) -> None:
        """One step of the moving averages of `book` on `vectors` `[N, D]` assigned to `index` `[N]`.

        Counts and sums are kept per vector of the batch, so that they do not depend on the batch's size.
        """
        size = len(book.embed)
        counts = torch.bincount(index, minlength=size) / len(vectors)
        sums = torch.zeros_like(book.embed).index_add_(0, index, vectors) / len(vectors)
        counts = book.cluster_size * self.decay + counts * (1 - self.decay)
        sums = book.embed_avg * self.decay + sums * (1 - self.decay)
        dead = counts < self.expiry / size
        number = int(dead.sum())
        if number:
            pick = torch.randint(len(vectors), (number,), generator=generator)
            counts[dead] = 1.0 / size
            sums[dead] = vectors[pick] / size
        self._write(book, sums, counts)
