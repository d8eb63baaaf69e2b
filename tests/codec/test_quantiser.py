"""Vector quantisation by moving averages against plain computations."""

import math

import pytest
import torch
from torch import Tensor

from pretraining.quantiser import EmaQuantiser, kmeans, nearest, perplexity
from tests.support import codec_tiny


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_nearest_is_the_smallest_distance() -> None:
    vectors, book = normal(50, 5), normal(9, 5, seed=1)
    assert torch.equal(nearest(vectors, book), torch.cdist(vectors.double(), book.double()).argmin(1))


def test_an_update_is_the_closed_form_of_the_moving_average() -> None:
    """m <- d m + (1 - d) sum / N, n <- d n + (1 - d) count / N, e = m / n, one vector at a time."""
    model = codec_tiny.model()
    book = model.quantizer.layers[0].codebook
    share = torch.full((codec_tiny.SIZE,), 1.0 / codec_tiny.SIZE)
    book.cluster_size.copy_(share)
    book.embed_avg.copy_(book.embed * share.unsqueeze(1))
    before, vectors = book.embed.clone(), normal(30, 8)
    index = nearest(vectors, book.embed)
    decay = 0.9
    EmaQuantiser(model.quantizer.layers, decay, 0.0).update(book, vectors, index, torch.Generator())
    for code in range(codec_tiny.SIZE):
        members = vectors[index == code]
        count = decay / codec_tiny.SIZE + (1 - decay) * len(members) / 30
        total = decay * before[code] / codec_tiny.SIZE + (1 - decay) * members.sum(0) / 30
        assert float(book.cluster_size[code]) == pytest.approx(count, abs=1e-6)
        torch.testing.assert_close(book.embed[code], total / count, rtol=1e-5, atol=1e-6)


def test_a_code_that_is_never_chosen_is_replaced_by_a_vector_of_the_batch() -> None:
    model = codec_tiny.model()
    book = model.quantizer.layers[0].codebook
    quantiser = EmaQuantiser(model.quantizer.layers[:1], 0.5, 0.05)
    quantiser.start(normal(400, 8), 5, torch.Generator().manual_seed(0))
    book.embed[3] = 1e3
    book.embed_avg[3] = 1e3 * book.cluster_size[3]
    generator = torch.Generator().manual_seed(1)
    latents = normal(4, 8, 50, seed=2)
    vectors = latents.transpose(1, 2).reshape(-1, 8)
    replaced = False
    for _ in range(8):
        quantiser(latents, update=True, generator=generator)
        replaced = replaced or bool((vectors == book.embed[3]).all(1).any())
    assert replaced
    assert float(book.embed.abs().max()) < 10


def test_codes_are_those_of_the_model_and_gradients_pass_straight_through() -> None:
    model = codec_tiny.model()
    latents = normal(2, 8, 11).requires_grad_()
    quantised = EmaQuantiser(model.quantizer.layers, 0.99, 0.05)(latents, update=False, generator=torch.Generator())
    codes = model.quantizer.encode(latents.detach(), model.config.target_bandwidths[-1])
    assert torch.equal(quantised.codes, codes.transpose(0, 1))
    torch.testing.assert_close(quantised.latents.detach(), model.quantizer.decode(codes))
    # The commitment is the mean over levels of the mean squared distance to the chosen vectors.
    left, distances = latents.detach(), []
    for layer, row in zip(model.quantizer.layers, codes, strict=True):
        left = left - layer.decode(row)
        distances.append(left.square().mean())
    assert float(quantised.commitment.detach()) == pytest.approx(float(torch.stack(distances).mean()), rel=1e-5)
    weight = normal(2, 8, 11, seed=3)
    (gradient,) = torch.autograd.grad((quantised.latents * weight).sum(), latents)
    assert torch.equal(gradient, weight)


def test_kmeans_moves_a_centre_without_members_to_where_it_is_needed() -> None:
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    vectors = (centres.repeat_interleave(40, 0) + 0.1 * normal(120, 2)).contiguous()
    start = torch.tensor([[0.0, 0.0], [10.0, 0.0], [100.0, -100.0]])
    found = kmeans(vectors, start, 10)
    expected = torch.stack([part.mean(0) for part in vectors.split(40)])
    assert float(torch.cdist(expected, found).min(1).values.max()) < 1e-5


def test_a_fit_lowers_what_each_codebook_leaves() -> None:
    model = codec_tiny.model()
    quantiser = EmaQuantiser(model.quantizer.layers, 0.99, 0.05)
    vectors = normal(2000, 8)
    quantiser.start(vectors, 10, torch.Generator().manual_seed(0))
    errors, left = [], vectors
    for layer in model.quantizer.layers:
        left = left - layer.codebook.embed[nearest(left, layer.codebook.embed)]
        errors.append(float(left.square().mean()))
    # 16 codes for 8 dimensions: half a bit a dimension; the distortion-rate bound of a normal variable is 2^-2R = 0.5.
    assert 0.5 < errors[0] < 0.7
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize(
    ("codes", "expected"), [([0] * 8, 1.0), ([0, 1, 2, 3], 4.0), ([0, 0, 0, 1], math.exp(0.5623351))]
)
def test_perplexity(codes: list[int], expected: float) -> None:
    assert perplexity(torch.tensor(codes), 4) == pytest.approx(expected, rel=1e-5)
