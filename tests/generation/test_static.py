"""The GPU's decoder on a CPU, without graphs: beside the model's own step, and compiled as one whole."""

import gc
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from musicgen_lite.generation import Sampling, generate, prepare, static
from musicgen_lite.generation.static import StaticDecoder
from musicgen_lite.models import Conditions, LanguageModel
from tests.support.models_tiny import KINDS, conditions, random_codes, tiny, with_beats
from tests.support.plain_decoder import PlainDecoder

# Every model and pattern with each kind of positions, and with the parts that only trained models have.
PLAIN: list[tuple[str, str, dict[str, Any]]] = [
    (*kind, {"positions": positions}) for kind in KINDS for positions in ("sinusoidal", "learned")
]
FULL = [(*kind, {"positions": "rotary", "pointer_dim": 8, "beat": True}) for kind in KINDS if kind[0] != "musicgen"]
every_variant = pytest.mark.parametrize(("kind", "pattern", "changes"), PLAIN + FULL)


def given_to(kind: str, changes: dict[str, Any], rows: int = 5) -> Conditions:
    given = conditions(rows, kind)
    return with_beats(given) if changes.get("beat") else given


def on_cpu(model: LanguageModel, weights: str = "float32") -> StaticDecoder:
    return StaticDecoder(model, weights, graphs=False)


@every_variant
@pytest.mark.parametrize("given_frames", [0, 4])
@torch.no_grad()
def test_steps_are_the_models_steps(kind: str, pattern: str, changes: dict[str, Any], given_frames: int) -> None:
    model, given = tiny(kind, pattern, scale=3.0, **changes), given_to(kind, changes)
    layout = model.pattern.layout(12, 4)
    first = int(layout.step[:, given_frames:].min())
    tokens = layout.build(random_codes(5, 12), 16)[:, :first]
    decoder = on_cpu(model)
    slow, fast = model.start(given, 12, tokens), decoder.start(given, 12, tokens)
    cells = tokens[:, -1] if first else torch.full((5, layout.cells), 16)
    for step in range(first, layout.steps):
        expected, found = model.step(cells, slow), decoder.logits(cells, fast)
        filled = layout.source[step] < 48  # what is said of an empty slot is never read
        torch.testing.assert_close(found[:, filled], expected[:, filled], atol=1e-5, rtol=0)
        cells = torch.where(filled, expected.argmax(dim=-1), 16)
    assert slow.step == fast.step == layout.steps


class Counting(TorchDispatchMode):
    """Counts torch's operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count[function.overloadpacket.__name__] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["a", "b"])
@torch.no_grad()
def test_layers_cast_nothing(kind: str) -> None:
    """Each operation of a step is a kernel at least, and a step of one clip waits for their number."""

    def casts(layers: int) -> int:
        decoder = on_cpu(tiny(kind, "delay", layers=layers), "bfloat16")
        state = decoder.start(conditions(5, kind), 12, torch.empty(5, 0, 4, dtype=torch.int64))
        with Counting() as counting:
            decoder.logits(torch.full((5, 4), 16), state)
        return counting.count["_to_copy"]

    assert casts(2) == casts(5) < 5


@every_variant
@pytest.mark.parametrize("bucket", [128, 4])
def test_codes_are_those_of_the_other_decoders(
    kind: str, pattern: str, changes: dict[str, Any], bucket: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With guidance, and where a clip is continued; in buckets that a clip fills and in such that it does not."""
    monkeypatch.setattr(static, "BUCKET", bucket)
    model, given = tiny(kind, pattern, scale=3.0, **changes), given_to(kind, changes)
    decoder, sampling = on_cpu(model), Sampling(temperature=0.9, top_k=12, top_p=0.95, guidance=3.0)
    for prefix in (None, random_codes(5, 3)):
        same = partial(generate, model, given, 12, sampling, range(5), prefix_codes=prefix)
        codes = same(decoder=decoder)
        assert torch.equal(codes, same(decoder=PlainDecoder(model)))
        assert torch.equal(codes, same(decoder=prepare(model)))
        assert torch.equal(codes, same(decoder=decoder)), "in memory that is used again"


def test_memory_is_used_again_by_decodings_of_its_size_alone() -> None:
    model, given = tiny("a", "delay", pointer_dim=8), conditions(2, "a")
    decoder, tokens = on_cpu(model), torch.zeros(2, 0, 4, dtype=torch.int64)

    def place(rows: int) -> int:
        state = decoder.start(given[:rows], 12, tokens[:rows])
        return state.caches[0].keys.data_ptr()

    first = decoder.start(given, 12, tokens)
    second = decoder.start(given, 7, tokens)
    addresses = [state.caches[0].keys.data_ptr() for state in (first, second)]
    assert addresses[0] != addresses[1], "both go on"
    del first
    gc.collect()
    assert place(2) == addresses[0]
    assert place(1) != addresses[0]
    assert len(decoder._free) == 1


@pytest.mark.parametrize(("weights", "tolerance"), [("bfloat16", 0.1), ("float16", 0.02)])
@every_variant
@torch.no_grad()
def test_weights_of_16_bits_are_near_what_they_stand_for(
    kind: str, pattern: str, changes: dict[str, Any], weights: str, tolerance: float
) -> None:
    model, given = tiny(kind, pattern, scale=3.0, **changes), given_to(kind, changes)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    exact, small = on_cpu(model), on_cpu(model, weights)
    tokens = model.pattern.layout(12, 4).build(random_codes(5, 12), 16)[:, :1]
    states = exact.start(given, 12, tokens), small.start(given, 12, tokens)
    assert states[1].caches[0].keys.dtype == getattr(torch, weights)
    for _ in range(5):
        found = small.logits(tokens[:, 0], states[1]).float()
        expected = exact.logits(tokens[:, 0], states[0])
        torch.testing.assert_close(found.log_softmax(-1), expected.log_softmax(-1), atol=tolerance, rtol=tolerance)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@every_variant
def test_a_step_compiles_as_a_whole_once_for_all_positions(kind: str, pattern: str, changes: dict[str, Any]) -> None:
    """No graph break, and no recompilation: nothing in a step depends on what the host would have to know."""
    torch._dynamo.reset()
    model, given = tiny(kind, pattern, scale=3.0, **changes), given_to(kind, changes)
    decoder, compiled = on_cpu(model), []

    def backend(graph: torch.fx.GraphModule, inputs: Sequence[Any]) -> Any:
        compiled.append(graph)
        return graph.forward

    whole = on_cpu(model)
    whole.step = torch.compile(whole.step, fullgraph=True, dynamic=False, backend=backend)  # type: ignore[method-assign]
    codes = [
        generate(model, given, 12, Sampling(top_k=12, guidance=2.0), range(5), decoder=d) for d in (decoder, whole)
    ]
    assert torch.equal(*codes)
    assert len(compiled) == 1
