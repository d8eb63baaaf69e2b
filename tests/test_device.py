"""One rule for every parameter and argument that names a device."""

import pytest
import torch

from musicgen_lite.device import check_weights, choose_device, choose_kv_cache, fitting, set_threads
from musicgen_lite.errors import UserError
from tests.support.ray_works import Threads


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


@pytest.mark.parametrize(
    ("value", "weights", "device", "chosen"),
    [
        ("auto", "float32", "cpu", "float32"),
        ("auto", "int8", "cpu", "bfloat16"),
        ("auto", "bfloat16", "cpu", "bfloat16"),
        ("bfloat16", "float32", "cpu", "bfloat16"),
        ("float32", "int8", "cpu", "float32"),
        ("auto", "float16", "cuda:1", "float16"),
        ("bfloat16", "bfloat16", "cuda", "bfloat16"),
    ],
)
def test_keys_and_values_have_the_format_that_is_asked_or_fits_the_weights(
    value: str, weights: str, device: str, chosen: str
) -> None:
    assert choose_kv_cache(value, weights, device, "sample.kv_cache") == chosen


@pytest.mark.parametrize(
    ("value", "device", "words"),
    [
        ("int8", "cpu", "on cpu auto, float32, bfloat16 are allowed"),
        ("float16", "cpu", "on cpu auto, float32, bfloat16 are allowed"),
        ("float32", "cuda", "on cuda auto, the format of the weights, is allowed"),
    ],
)
def test_a_format_of_keys_and_values_that_is_not_possible_is_named(value: str, device: str, words: str) -> None:
    with pytest.raises(UserError, match=f"^sample.kv_cache: found '{value}'; {words}"):
        choose_kv_cache(value, "bfloat16", device, "sample.kv_cache")


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (
            64,
            "rows: 64 at a time, which do not fit into the GPU's memory; set it to 32 or less, or use a smaller model",
        ),
        (3, "rows: 3 at a time, which do not fit into the GPU's memory; set it to 1 or less, or use a smaller model"),
        (1, "rows: 1 at a time, which do not fit into the GPU's memory; use a smaller model"),
    ],
)
def test_too_little_memory_is_named_with_the_smaller_value(size: int, words: str) -> None:
    with pytest.raises(UserError) as caught, fitting("rows", size, "use a smaller model"):
        raise torch.OutOfMemoryError("CUDA out of memory")
    assert str(caught.value) == words
    with pytest.raises(RuntimeError, match="another"), fitting("rows", size, ""):
        raise RuntimeError("another")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_threads_are_those_of_torch_and_of_numpy(count: int) -> None:
    set_threads(count)
    assert Threads().compute(0) == (count, {count})
