import torch

from musicgen_lite.models.core.loss import cell_nll


def test_cell_nll_is_the_negative_log_probability_of_each_code() -> None:
    logits, codes = torch.randn(3, 4, 5, 7), torch.randint(0, 7, (3, 4, 5))
    expected = -logits.double().softmax(dim=-1).gather(-1, codes[..., None])[..., 0].log()
    nll = cell_nll(logits, codes)
    assert nll.dtype == torch.float32
    torch.testing.assert_close(nll.double(), expected, atol=1e-5, rtol=0)


def test_masked_frames_count_nothing_and_teach_nothing() -> None:
    logits, codes = torch.randn(2, 4, 6, 7, requires_grad=True), torch.randint(0, 7, (2, 4, 6))
    mask = torch.arange(6) < torch.tensor([[6], [2]])
    nll = cell_nll(logits, codes, mask)
    assert (nll[1, :, 2:] == 0).all()
    assert torch.equal(nll[:, :, :2], cell_nll(logits[:, :, :2], codes[:, :, :2]))
    nll.sum().backward()
    assert logits.grad is not None
    assert (logits.grad[1, :, 2:] == 0).all()
    assert (logits.grad[1, :, :2].abs().sum(dim=-1) > 0).all()
    # The codes under the mask may be anything.
    assert torch.equal(cell_nll(logits, codes.masked_fill(~mask[:, None], 6), mask), nll)


def test_half_precision_logits_are_summed_in_float32() -> None:
    logits, codes = torch.randn(1, 2, 3, 9).bfloat16(), torch.randint(0, 9, (1, 2, 3))
    assert torch.equal(cell_nll(logits, codes), cell_nll(logits.float(), codes))
