"""One rule for every parameter and argument that names a device."""

import pytest
import torch

from musicgen_lite.device import check_weights, choose_device
from musicgen_lite.errors import UserError


@pytest.mark.parametrize(
    ("value", "has_gpu", "expected"),
    [
        ("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("cuda", True, "cuda"),
        ("cuda:1", True, "cuda:1"),
    ],
)  # fmt: skip
def test_auto_takes_a_gpu_where_there_is_one(
    value: str, has_gpu: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert choose_device(value, "compute.device") == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("cuda", "compute.device: found 'cuda', but torch sees no GPU here; set it to auto or cpu"),
        ("cuda:1", "compute.device: found 'cuda:1', but torch sees no GPU here"),
        ("gpu", "compute.device: found 'gpu'; allowed: auto, cpu, cuda"),
        ("cuda:first", "compute.device: found 'cuda:first'; allowed"),
    ],
)
def test_a_device_that_is_not_there_is_refused_by_the_name_of_its_parameter(
    value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=message):
        choose_device(value, "compute.device")


@pytest.mark.parametrize(("weights", "device"), [("int8", "cuda"), ("int8", "cuda:1"), ("float16", "cpu"), ("", "cpu")])
def test_weights_that_a_device_does_not_hold_are_named(weights: str, device: str) -> None:
    with pytest.raises(UserError, match=rf"^sample.weights: found '{weights}'; on {device} float32, bfloat16, .* are"):
        check_weights(weights, device, "sample.weights")
    check_weights("bfloat16", device, "sample.weights")
