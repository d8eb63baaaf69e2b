"""Products of bfloat16 and int8 weights by AMX, where the processor has it, and the path elsewhere."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest
import torch

from musicgen_lite.generation.cpu import CpuDecoder, pack
from musicgen_lite.generation.kernels import amx, early, layers
from musicgen_lite.generation.kernels.compiled import features
from tests.support.models_tiny import conditions, tiny

needs_amx = pytest.mark.skipif(not amx.available(), reason="the processor has no AMX, or the system does not lend it")


@numba.njit
def product(x: np.ndarray, weight: np.ndarray, out: np.ndarray, start: int, stop: int, split: np.ndarray) -> None:
    """`layers.product_in_bfloat16`, which only kernels may call."""
    layers.product_in_bfloat16(x, weight, out, layers.STORE, start, stop, split, np.empty(amx.SUMS, np.float32))


@numba.njit
def product_int8(
    x: np.ndarray, weight: np.ndarray, scale: np.ndarray, out: np.ndarray, start: int, stop: int, digits: np.ndarray
) -> None:
    """`layers.product_in_int8`, which only kernels may call."""
    steps, sums = np.empty((1, len(x)), np.float32), np.empty(amx.SUMS, np.float32)
    layers.product_in_int8(x, weight, scale, out, layers.STORE, start, stop, digits, steps, sums)


def multiplied(x: torch.Tensor, weight: torch.Tensor, stored: str, span: int) -> torch.Tensor:
    """x times the transpose of weight, `span` outputs at a time; the room for inputs is full of what is no number before."""
    packed, scale = pack(weight, stored, amx=True)
    out, room = np.full((len(x), len(weight)), np.nan, np.float32), amx.input_size(*x.shape)
    split = np.full((2 * room // amx.NUMBERS + 1, amx.NUMBERS), 0x7FC0, np.uint16)
    digits = np.full((4 * room // (amx.DIGITS * amx.TILE) + 1, amx.DIGITS * amx.TILE), -128, np.int8)
    for start in range(0, len(weight), span):
        stop = min(start + span, len(weight))
        if stored == "bfloat16":
            product(x.numpy(), packed.reshape(-1, amx.NUMBERS), out, start, stop, split)
        else:
            product_int8(x.numpy(), packed.reshape(-1, amx.TILE), scale[None], out, start, stop, digits)
    return torch.from_numpy(out)


def rounded(weight: torch.Tensor, stored: str) -> torch.Tensor:
    """The weights that are multiplied, as float64."""
    if stored == "bfloat16":
        return weight.bfloat16().double()
    multiples, scale = pack(weight, "int8")
    return torch.from_numpy(multiples).double() * torch.from_numpy(scale).double()[:, None]


@needs_amx
@pytest.mark.parametrize("stored", ["bfloat16", "int8"])
@pytest.mark.parametrize(
    ("rows", "outputs", "depth"), [(1, 1, 1), (2, 7, 33), (8, 64, 64), (16, 32, 1024), (17, 31, 70), (40, 100, 96)]
)
def test_products_are_those_of_the_rounded_weights_and_the_inputs_as_they_are(
    rows: int, outputs: int, depth: int, stored: str
) -> None:
    weight, x = torch.randn(outputs, depth), torch.randn(rows, depth) * 10.0 ** torch.arange(-20, -20 + rows)[:, None]
    factors, exact = rounded(weight, stored), x.double()
    error = (multiplied(x, weight, stored, 32).double() - exact @ factors.T).abs()
    # Of bfloat16 each input is rounded by itself, of int8 by the largest of its row.
    of = exact.abs() * 2**-16 if stored == "bfloat16" else exact.abs().amax(dim=1, keepdim=True).expand_as(x) * 2**-21.9
    assert (error <= of @ factors.abs().T + 2**-22 * (exact @ factors.T).abs()).all()


@needs_amx
@pytest.mark.parametrize("stored", ["bfloat16", "int8"])
def test_a_row_of_a_product_is_the_same_bits_in_any_company_and_division(stored: str) -> None:
    weight, x = torch.randn(100, 200), torch.randn(40, 200)
    whole = multiplied(x, weight, stored, 128)
    for first, last in ((0, 1), (3, 6), (7, 24), (39, 40)):
        assert torch.equal(multiplied(x[first:last], weight, stored, 32), whole[first:last])


@needs_amx
def test_rows_of_zeros_and_of_numbers_that_are_not_finite_give_what_they_should() -> None:
    x = torch.randn(6, 100)
    x[1], x[5] = 0, 1e-40
    x[2, 7], x[3, 99] = torch.nan, -torch.inf
    x[4, 3] = 1e25
    weight = torch.randn(20, 100)
    found = multiplied(x, weight, "int8", 32)
    assert torch.equal(found[[1, 5]], torch.zeros(2, 20))
    assert found[2:4].isnan().all()
    assert torch.equal(found[[0, 4]], multiplied(x[[0, 4]], weight, "int8", 32))
    assert found[[0, 4]].isfinite().all()


@torch.no_grad()
def steps(decoder: CpuDecoder) -> torch.Tensor:
    given, start = conditions(6, "b"), torch.empty(6, 0, 4, dtype=torch.int64)
    state = decoder.start(given, 12, start)
    return torch.stack([decoder.logits(torch.full((6, 4), step % 16), state) for step in range(12)])


@needs_amx
@pytest.mark.parametrize("stored", ["bfloat16", "int8"])
def test_a_decoder_with_amx_says_so_and_is_near_the_other_path(monkeypatch: pytest.MonkeyPatch, stored: str) -> None:
    model = tiny("b", "delay", scale=3.0)
    with_amx = CpuDecoder(model, stored)
    assert " with AMX on " in with_amx.path
    assert "AMX" not in CpuDecoder(model, "float32").path
    monkeypatch.setattr(amx, "available", lambda: False)
    without = CpuDecoder(model, stored)
    assert "AMX" not in without.path
    # Much nearer than the bfloat16 of inputs alone would be.
    torch.testing.assert_close(steps(with_amx), steps(without), atol=1e-4, rtol=0)


@needs_amx
@pytest.mark.parametrize("stored", ["bfloat16", "int8"])
def test_what_is_compiled_early_takes_the_packed_weights(stored: str) -> None:
    decoder = CpuDecoder(tiny("b", "delay"), stored)
    assert numba.typeof(decoder.heads[0][0]) in early.signatures(stored, "float32")[layers.run]


@pytest.mark.parametrize("refused", [False, True])
def test_amx_is_used_where_the_system_lends_it(refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    library = SimpleNamespace(syscall=lambda *_: -1 if refused else 0)
    monkeypatch.setattr(amx.ctypes, "CDLL", lambda _: library)
    monkeypatch.setattr(amx.sys, "platform", "linux")
    monkeypatch.setattr(amx, "features", lambda: {"avx512f", "amx-tile", "amx-bf16", "amx-int8"})
    assert amx.available.__wrapped__() is not refused
    monkeypatch.setattr(amx, "features", lambda: {"avx512f", "amx-tile", "amx-bf16"})
    assert not amx.available.__wrapped__()


CODE = """
import os, torch
from musicgen_lite.generation.cpu import CpuDecoder
from tests.generation.test_amx import steps
from tests.support.models_tiny import tiny
decoder = CpuDecoder(tiny("b", "delay", scale=3.0), "bfloat16")
print(decoder.path)
torch.save(steps(decoder), os.environ["RESULT"])
"""


@pytest.mark.slow
def test_without_its_instructions_the_path_is_the_one_without_amx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a processor that has the others only: with the bits of that path."""
    fewer = ",".join(f"{'-' if name.startswith('amx') else '+'}{name}" for name in sorted(features()))
    surroundings = {
        "NUMBA_CPU_FEATURES": fewer, "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join(sys.path), "RESULT": str(tmp_path / "result.pt"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=os.environ | surroundings, check=True, capture_output=True, text=True
    )
    assert "AMX" not in done.stdout
    monkeypatch.setattr(amx, "available", lambda: False)
    without = steps(CpuDecoder(tiny("b", "delay", scale=3.0), "bfloat16"))
    assert torch.equal(torch.load(tmp_path / "result.pt"), without)
