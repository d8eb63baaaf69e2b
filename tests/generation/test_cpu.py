"""The packed decoder beside the model's own step, and its kernels beside torch and numpy."""

import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from scipy.special import erf

from musicgen_lite.generation import Sampling, generate, kernels, prepare
from musicgen_lite.generation.cpu import CpuDecoder, pack
from musicgen_lite.generation.kernels import Team, arithmetic, early, layers, memory, team
from musicgen_lite.generation.sampling import draw
from musicgen_lite.models import Conditions
from tests.support.models_tiny import VARIANTS, conditions, tiny

SIZES = {
    "codebook_size": 512,
    "text_dim": 128,
    "d_model": 192,
    "layers": 4,
    "heads": 4,
    "max_frames": 20,
    "max_text": 64,
}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "pattern", "positions"), VARIANTS)
@pytest.mark.parametrize(("stored", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.02), ("int8", 0.05)])
@torch.no_grad()
def test_packed_steps_are_the_models_steps(
    kind: str, pattern: str, positions: str, stored: str, tolerance: float
) -> None:
    model, given = tiny(kind, pattern, scale=3.0, positions=positions), conditions(5, kind)
    decoder, slow, fast = CpuDecoder(model, stored), model.start(given, 12), model.start(given, 12)
    cells = torch.full((5, slow.layout.cells), model.config.codebook_size)
    for _ in range(slow.layout.steps):
        expected = model.step(cells, slow)
        torch.testing.assert_close(decoder.logits(cells, fast), expected, atol=tolerance, rtol=0)
        cells = expected.argmax(dim=-1)


@numba.njit
def product(x: np.ndarray, weight: np.ndarray, scale: np.ndarray, out: np.ndarray, start: int, stop: int) -> None:
    """`layers.product`, which only kernels may call."""
    layers.product(x, weight, scale.reshape(1, -1), out, layers.STORE, start, stop, np.empty(layers.SUMS, np.float32))


@torch.no_grad()
def test_small_weights_are_near_what_they_stand_for() -> None:
    """bfloat16 is exactly the model with rounded weights; int8 is off by at most half a step of its row's scale."""
    weight, x = torch.randn(37, 50), torch.randn(3, 50)
    out = np.empty((3, 37), np.float32)
    product(x.numpy(), *pack(weight, "bfloat16"), out, 0, 37)
    torch.testing.assert_close(torch.from_numpy(out), x @ weight.bfloat16().float().T)
    product(x.numpy(), *pack(weight, "int8"), out, 0, 37)
    error = (torch.from_numpy(out) - x @ weight.T).abs()
    assert (error <= x.abs().sum(1)[:, None] * weight.abs().amax(1) / 127 / 2 + 1e-5).all()
    assert error.max() > 1e-4


@pytest.mark.parametrize("stored", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize(
    ("rows", "outputs", "depth"), [(1, 1, 1), (1, 7, 5), (2, 8, 64), (3, 6, 33), (4, 5, 70), (9, 13, 17)]
)
def test_products_of_all_sizes(stored: str, rows: int, outputs: int, depth: int) -> None:
    weight, x = torch.randn(outputs, depth), torch.randn(rows, depth)
    packed, scale = pack(weight, stored)
    out = np.full((rows, outputs), np.nan, np.float32)
    for start in range(0, outputs, 8):  # as threads divide it
        product(x.numpy(), packed, scale, out, start, min(start + 8, outputs))
    stands_for = torch.from_numpy(packed).view(torch.bfloat16) if stored == "bfloat16" else torch.from_numpy(packed)
    expected = x @ (stands_for.float() * torch.from_numpy(scale)[:, None]).T
    torch.testing.assert_close(torch.from_numpy(out), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("positions", ["sinusoidal", "rotary"])
@pytest.mark.parametrize(("kind", "stored"), [("a", "float32"), ("b", "float32"), ("b", "bfloat16")])
@torch.no_grad()
def test_logits_of_an_item_are_the_same_bits_in_any_batch(kind: str, stored: str, positions: str) -> None:
    """At the default size: not only the codes agree, so do all bits of the logits."""
    model = tiny(kind, "interleaved", scale=1.0, positions=positions, **SIZES)
    decoder = CpuDecoder(model, stored)
    given = Conditions.from_texts([torch.randn(5 + i, 128) for i in range(16)]).pad_text(64)
    cells = torch.randint(0, 512, (80, 16, 1))
    full = model.start(given, 20)
    # A start needs 4 rows, a step does not.
    parts = {
        size: [model.start(given[i : i + max(size, 4)], 20).first(size) for i in range(0, 13, size)]
        for size in (1, 3, 4)
    }
    for step in range(80):
        whole = decoder.logits(cells[step], full)
        for size, states in parts.items():
            for i, state in enumerate(states):
                mine = decoder.logits(cells[step, i * size : (i + 1) * size], state)
                assert torch.equal(mine, whole[i * size : (i + 1) * size]), (size, i, step)


@pytest.mark.parametrize(
    ("stored", "kv_cache"),
    [("float32", "float32"), ("bfloat16", "float32"), ("int8", "float32"), ("float32", "bfloat16")],
)
@pytest.mark.parametrize(("kind", "items"), [("a", 1), ("a", 3), ("b", 16)])
@torch.no_grad()
def test_logits_are_the_same_bits_for_any_number_of_threads(
    stored: str, kv_cache: str, kind: str, items: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than there are cores among them, which work as fast as a busy machine lets them."""
    monkeypatch.setattr(team, "team_size", lambda threads: threads)
    model, given = tiny(kind, "delay", scale=3.0, d_model=48, heads=3, positions="rotary"), conditions(items, kind)
    decoder, found = CpuDecoder(model, stored, kv_cache), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        state = decoder.start(given, 12, torch.empty(items, 0, 4, dtype=torch.int64))
        cells = [decoder.logits(torch.full((items, 4), step % 16), state) for step in range(state.layout.steps)]
        found.append(torch.stack(cells))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@torch.no_grad()
def test_steps_with_bfloat16_caches_are_near_those_with_float32() -> None:
    """Rounding moves logits a little, and the weights' type and the caches' do not have to agree."""
    model, given = tiny("b", "delay", scale=1.0, positions="rotary"), conditions(5, "b")
    logits = []
    for kv_cache in ("float32", "bfloat16"):
        decoder = prepare(model, "float32", kv_cache)
        state = decoder.start(given, 12, torch.empty(5, 0, 4, dtype=torch.int64))
        logits.append(torch.stack([decoder.logits(torch.full((5, 4), step % 16), state) for step in range(12)]))
        assert {cache.keys.dtype for cache in state.caches} == {getattr(torch, kv_cache)}
    difference = (logits[0] - logits[1]).abs().max()
    assert 1e-5 < difference < 0.02 * logits[0].abs().max()


def test_bfloat16_is_rounded_to_nearest_even_as_torch_does() -> None:
    @numba.njit
    def rounded(x: np.ndarray, like: np.ndarray) -> np.ndarray:
        for i in range(len(x)):
            like[i] = memory.narrowed(x[i], like)
        return like

    bits = np.arange(0x3F800000, 0x3F800000 + 0x40000, 0x100).astype(np.uint32)  # of both kinds of ties too
    x = np.concatenate([bits.view(np.float32), -bits.view(np.float32), np.random.default_rng(0).normal(size=1000)])
    x = x.astype(np.float32)
    assert (rounded(x, np.zeros(len(x), np.uint16)) == torch.from_numpy(x).bfloat16().view(torch.uint16).numpy()).all()


def test_decoding_calls_nothing_but_what_was_compiled_early() -> None:
    """Else a first generation would compile twice."""
    model = tiny("b", "delay", pointer_dim=8)
    kinds = early.signatures("float32", "float32")
    for kernel, given in kinds.items():
        kernel.compile(given)
    before = {kernel: set(kernel.signatures) for kernel in kinds}
    generate(model, conditions(4, "b"), 12, Sampling(guidance=2.0, top_p=0.9), range(4), decoder=prepare(model))
    assert {kernel: set(kernel.signatures) for kernel in kinds} == before


def test_an_error_in_a_thread_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(thread: int, threads: int, _: np.ndarray) -> None:
        if thread == threads - 1:
            raise FloatingPointError("the step failed")

    monkeypatch.setattr(team, "team_size", lambda threads: threads)
    with pytest.raises(FloatingPointError, match="the step failed"):
        Team(3).run(failing)


def test_after_a_long_wait_the_first_thread_goes_on_alone_and_later_all_do_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread that comes late, as on a machine whose cores have other work, is waited for once."""
    monkeypatch.setattr(team, "team_size", lambda threads: threads)

    @numba.njit(nogil=True)
    def step(thread: int, threads: int, barrier: np.ndarray, number: int, seen: np.ndarray) -> None:
        for i in range(number):
            seen[i] = threads
            threads = team.wait(barrier, threads)
            if thread >= threads:
                return

    def late(thread: int, threads: int, barrier: np.ndarray, number: int, seen: np.ndarray) -> None:
        while thread == 1 and not barrier[team.LOST]:
            time.sleep(0.001)
        counts.append(threads)
        step(thread, threads, barrier, number, seen)

    pair, seen = Team(2), np.zeros(5, np.int64)
    counts: list[int] = []
    step(0, 1, np.zeros(team.BARRIER, np.int64), 5, seen)  # compiled
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    pair.run(late, 5, seen)
    assert seen.tolist() == [2, 1, 1, 1, 1]
    counts.clear()
    pair.run(late, 5, seen)
    assert counts == [1]
    monkeypatch.setattr(time, "perf_counter", lambda: 1000.0)
    counts.clear()
    pair.run(late, 5, seen)
    assert counts == [2, 2]


def test_more_threads_than_cores_are_as_many_as_cores() -> None:
    cores = len(os.sched_getaffinity(0))
    assert Team(1000).threads == team.team_size(1000) == cores
    torch.set_num_threads(cores + 5)
    assert f" on {cores} thread" in prepare(tiny("a", "delay")).path


@pytest.mark.parametrize("size", [3, 300])
@pytest.mark.parametrize(
    "sampling",
    [Sampling(), Sampling(temperature=0.3), Sampling(top_k=2), Sampling(top_p=0.6), Sampling(1.7, top_k=3, top_p=0.9)],
)
def test_codes_are_drawn_as_in_torch(size: int, sampling: Sampling) -> None:
    torch.manual_seed(0)
    logits, uniforms = 3 * torch.randn(2, 50, 4, size), torch.rand(50, 4, dtype=torch.float64)
    decoder = CpuDecoder(tiny("a", "delay"), "float32")
    drawn = decoder.draw(logits, [3.0, -2.0], uniforms, sampling)
    assert torch.equal(drawn, draw(3 * logits[0] - 2 * logits[1], uniforms, sampling))
    assert len(set(drawn.flatten().tolist())) > 1


def test_exponential_and_gelu_are_exact_to_rounding() -> None:
    @numba.njit
    def both(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        out = np.empty((2, len(x)), np.float32)
        for i in range(len(x)):
            out[0, i], out[1, i] = arithmetic.exp(x[i]), arithmetic.gelu(x[i])
        return out[0], out[1]

    x = np.linspace(-60, 88, 200_001).astype(np.float32)
    exact = np.exp(x.astype(np.float64))
    assert np.abs(both(x)[0] / exact - 1).max() < 3e-7
    assert both(np.array([-np.inf, -1e30, -60.1, 0.0], np.float32))[0].tolist() == [0, 0, 0, 1]
    x = np.linspace(-12, 12, 200_001).astype(np.float32)
    exact = x * 0.5 * (1 + erf(x.astype(np.float64) / math.sqrt(2)))
    assert np.abs(both(x)[1] - exact).max() < 1e-6


def test_weights_of_half_precision_and_int8_make_music_of_their_own() -> None:
    model, given = tiny("b", "delay", scale=3.0), conditions(4, "b")
    codes = {
        stored: generate(model, given, 12, Sampling(), range(4), decoder=prepare(model, stored))
        for stored in ("float32", "bfloat16", "int8")
    }
    assert all(0 <= int(each.min()) <= int(each.max()) < 16 for each in codes.values())
    assert (codes["float32"] == codes["bfloat16"]).float().mean() > 0.5
    with pytest.raises(ValueError, match=r"a model in torch.bfloat16; on a CPU it must be float32"):
        generate(model.bfloat16(), given, 6, Sampling(), range(4))


CODE = """
import hashlib, os, shutil, sys, torch
from musicgen_lite.generation.cpu import CpuDecoder
from tests.support.models_tiny import conditions, tiny
if len(sys.argv) > 1:  # the cache's folder, lost after it was chosen
    shutil.rmtree(sys.argv[1])
    open(sys.argv[1], "w").close()
model, given = tiny('b', 'delay', d_model=64, heads=2, max_frames=70), conditions(6, 'b')
decoder, rows = CpuDecoder(model, 'float32'), []
with torch.no_grad(): state = decoder.start(given, 70, torch.empty(6, 0, 4, dtype=torch.int64))
for step in range(70): rows.append(decoder.logits(torch.full((6, 4), step % 16), state))
print(decoder.path)
torch.save(torch.stack(rows), os.environ["RESULT"])
"""


def logits_of_a_process(tmp_path: Path, *arguments: str, **surroundings: str) -> tuple[torch.Tensor, str]:
    """The logits of some steps in a process of their own, and what it said."""
    given = {
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path), "RESULT": str(tmp_path / "result.pt"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], env=os.environ | given | surroundings, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    return torch.load(tmp_path / "result.pt"), done.stdout


def cached(tmp_path: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (tmp_path / "cache").rglob("*.nb?")}


@pytest.mark.slow
def test_kernels_from_the_cache_give_the_bits_of_those_just_compiled(tmp_path: Path) -> None:
    compiled, _ = logits_of_a_process(tmp_path)
    files = cached(tmp_path)
    # One file for each kernel, also after a copy of the package ran.
    assert len([name for name in files if name.startswith("layers.run") and name.endswith(".nbc")]) == 1
    assert torch.equal(logits_of_a_process(tmp_path)[0], compiled)
    copy = tmp_path / "copy"
    shutil.copytree(
        Path(kernels.__file__).parents[2],
        copy / "musicgen_lite",
        ignore=shutil.ignore_patterns("weights", "__pycache__"),
    )
    elsewhere, _ = logits_of_a_process(tmp_path, PYTHONPATH=os.pathsep.join([str(copy), *sys.path]))
    assert torch.equal(elsewhere, compiled)
    assert cached(tmp_path) == files  # nothing was compiled again
    # What is damaged is compiled again and written anew: machine code with a wrong bit, and an index that is cut off.
    for path in (tmp_path / "cache").rglob("layers.*.nb?"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        if path.suffix == ".nbc" or "embed" in path.name:
            path.write_bytes(content if path.suffix == ".nbc" else content[:20])
    damaged = cached(tmp_path)
    assert torch.equal(logits_of_a_process(tmp_path)[0], compiled)
    mended = cached(tmp_path)
    assert mended.keys() == damaged.keys()
    assert not [name for name in files if damaged[name] != files[name] and mended[name] == damaged[name]]


@pytest.mark.slow
def test_kernels_work_where_nothing_can_be_kept_and_without_wide_vectors(tmp_path: Path) -> None:
    """On a processor with SSE2 alone sums round differently; with the same instructions they are the same bits."""
    (tmp_path / "cache").mkdir()
    usual, said = logits_of_a_process(tmp_path, str(tmp_path / "cache"))
    assert kernels.instruction_set() in said
    (tmp_path / "cache").unlink()
    plain, said = logits_of_a_process(tmp_path, NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES="")
    assert "kernels for x86-64 on" in said
    torch.testing.assert_close(plain, usual, atol=2e-4, rtol=0)
