"""Products of bfloat16 weights by AMX, where the processor has it, and the path elsewhere."""

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


def multiplied(x: torch.Tensor, weight: torch.Tensor, span: int) -> torch.Tensor:
    """x times the transpose of weight, `span` outputs at a time; the room for split inputs is full of NaN before."""
    packed, _ = pack(weight, "bfloat16", amx=True)
    out = np.full((len(x), len(weight)), np.nan, np.float32)
    split = np.full((amx.split_size(*x.shape) * 2 // amx.NUMBERS, amx.NUMBERS), 0x7FC0, np.uint16)
    for start in range(0, len(weight), span):
        flat = packed.reshape(-1, amx.NUMBERS)
        product(x.numpy(), flat, out, start, min(start + span, len(weight)), split)
    return torch.from_numpy(out)


@needs_amx
@pytest.mark.parametrize(
    ("rows", "outputs", "depth"), [(1, 1, 1), (2, 7, 33), (8, 64, 64), (16, 32, 1024), (17, 31, 70), (40, 100, 96)]
)
def test_products_are_those_of_the_rounded_weights_and_the_inputs_as_they_are(
    rows: int, outputs: int, depth: int
) -> None:
    weight, x = torch.randn(outputs, depth), torch.randn(rows, depth)
    rounded = weight.bfloat16().double()
    error = (multiplied(x, weight, 32).double() - x.double() @ rounded.T).abs()
    assert (error <= 2**-16 * (x.double().abs() @ rounded.abs().T)).all()


@needs_amx
def test_a_row_of_a_product_is_the_same_bits_in_any_company_and_division() -> None:
    weight, x = torch.randn(100, 200), torch.randn(40, 200)
    whole = multiplied(x, weight, 128)
    for first, last in ((0, 1), (3, 6), (7, 24), (39, 40)):
        assert torch.equal(multiplied(x[first:last], weight, 32), whole[first:last])


@torch.no_grad()
def steps(decoder: CpuDecoder) -> torch.Tensor:
    given, start = conditions(6, "b"), torch.empty(6, 0, 4, dtype=torch.int64)
    state = decoder.start(given, 12, start)
    return torch.stack([decoder.logits(torch.full((6, 4), step % 16), state) for step in range(12)])


@needs_amx
def test_a_decoder_with_amx_says_so_and_is_near_the_other_path(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("b", "delay", scale=3.0)
    with_amx = CpuDecoder(model, "bfloat16")
    assert " with AMX on " in with_amx.path
    assert "AMX" not in CpuDecoder(model, "int8").path + CpuDecoder(model, "float32").path
    monkeypatch.setattr(amx, "available", lambda: False)
    without = CpuDecoder(model, "bfloat16")
    assert "AMX" not in without.path
    # Much nearer than the bfloat16 of inputs alone would be.
    torch.testing.assert_close(steps(with_amx), steps(without), atol=1e-4, rtol=0)


@needs_amx
def test_what_is_compiled_early_takes_the_packed_weights() -> None:
    decoder = CpuDecoder(tiny("b", "delay"), "bfloat16")
    assert numba.typeof(decoder.heads[0][0]) in early.signatures("bfloat16", "float32")[layers.run]


@pytest.mark.parametrize("refused", [False, True])
def test_amx_is_used_where_the_system_lends_it(refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    library = SimpleNamespace(syscall=lambda *_: -1 if refused else 0)
    monkeypatch.setattr(amx.ctypes, "CDLL", lambda _: library)
    monkeypatch.setattr(amx.sys, "platform", "linux")
    monkeypatch.setattr(amx, "features", lambda: {"avx512f", "amx-tile", "amx-bf16"})
    assert amx.available.__wrapped__() is not refused
    monkeypatch.setattr(amx, "features", lambda: {"avx512f", "amx-tile"})
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
