"""The decoding step on a GPU: tensors stay in place, nothing waits for the host, and CUDA graphs launch all of it at once.

The position is a tensor on the device, so that one recording serves many steps. Keys and values lie in caches of a fixed
size, of which a step reads as many whole buckets as are begun: there is a graph for each number of buckets.
"""

import copy
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from musicgen_lite.generation.graphs import Graphs, Run, directly
from musicgen_lite.generation.sampling import Sampling, draw_guided
from musicgen_lite.models.core.base import DecodingState, LanguageModel
from musicgen_lite.models.core.conditions import Conditions
from musicgen_lite.models.core.pointer import PointerCache, Slots
from musicgen_lite.models.core.transformer import Context, LayerCache, Positions, key_bias

BUCKET = 128  # positions


@dataclass
class StaticState(DecodingState):
    """A decoding in a `Place`. at: `[1]`, the step, on the device; slots: what the steps hold, from the one before the first."""

    at: Tensor = field(kw_only=True)
    slots: Slots = field(kw_only=True)
    run: Run = field(kw_only=True)


@dataclass
class StaticCache(LayerCache):
    """The part of a layer's cache that a step sees; `here` `[1]` is the step's own position."""

    here: Tensor = field(kw_only=True)

    def extend(self, keys: Tensor, values: Tensor, at: int) -> tuple[Tensor, Tensor]:
        """Write one position; returns the whole part, of which what lies behind `here` must be hidden."""
        self.keys.index_copy_(2, self.here, keys)
        self.values.index_copy_(2, self.here, values)
        return self.keys, self.values


class StaticDecoder:
    """A model's steps with weights in a type of torch's; with CUDA graphs, or for tests without, on any device."""

    def __init__(self, model: LanguageModel, weights: str, graphs: bool = True) -> None:
        dtype = getattr(torch, weights)
        self.model = model if model.head.dtype == dtype else copy.deepcopy(model).to(dtype).eval()
        self._new_run = Graphs if graphs else lambda: directly
        self._run = self._new_run()
        self._size: tuple[int, ...] = ()
        self._free: list[Place] = []

    @property
    def path(self) -> str:
        """On what and in which formats it computes, for people."""
        dtype, graphs = str(self.model.head.dtype).removeprefix("torch."), " in CUDA graphs" * (self._new_run is Graphs)
        return f"torch on {self.model.head.device}{graphs}, weights, keys and values {dtype}"

    def start(self, conditions: Conditions, frames: int, prompt_tokens: Tensor) -> DecodingState:
        """The prefill, not recorded, in memory that is used again once the state is forgotten and the next has its size."""
        state = self.model.start(conditions, frames, prompt_tokens, room=False)
        capacity = whole_buckets(state.prefix_length + state.layout.steps)
        memory = state.context.memory.shape[1] if state.context.memory is not None else 0
        size = (*state.step_embeddings.shape[1:], len(conditions), capacity, whole_buckets(frames), memory)
        if size != self._size:
            self._size, self._free = size, []
        place = self._free.pop() if self._free else Place(capacity, whole_buckets(frames), self._new_run())
        settled = place.settle(state)
        weakref.finalize(settled, self._free.append, place)
        return settled

    def logits(self, cells: Tensor, state: DecodingState) -> Tensor:
        """Logits `[B, C, K]` of the state's next step, given the cells `[B, C]` of the step before it."""
        assert isinstance(state, StaticState), "a state that `start` made"
        seen = whole_buckets(state.prefix_length + state.step + 1)
        state.at.fill_(state.step)
        state.step += 1
        return state.run(seen, partial(self.step, state=state, seen=seen), cells)

    def draw(self, logits: Tensor, scales: Sequence[float], uniforms: Tensor, sampling: Sampling) -> Tensor:
        """Codes `[B, C]` from logits `[branches, B, C, K]`; see `sampling.draw_guided`."""
        function = partial(draw_guided, scales=tuple(scales), sampling=sampling)
        return self._run((logits.shape, tuple(scales), sampling), function, logits, uniforms)

    def step(self, cells: Tensor, state: StaticState, seen: int) -> Tensor:
        """What `LanguageModel.step` computes, at the step `state.at`; it looks at the first `seen` positions alone."""
        model, at = self.model, state.at
        here = at + state.prefix_length
        bias = key_bias(torch.arange(seen, device=at.device)[None] <= here)
        if state.positions.bias is not None:
            bias = bias + state.positions.bias[..., :seen]
        bias = bias.to(state.caches[0].keys.dtype)  # here, and not once a layer
        positions = Positions(bias, None if state.positions.rotations is None else state.positions.rotations[here])
        x = model.embed(cells[:, None], state.codebook_offsets[at]) + state.step_embeddings[at].transpose(0, 1)
        for block, cache in zip(model.blocks, state.caches, strict=True):
            keys, values = cache.keys[:, :, :seen], cache.values[:, :, :seen]
            part = StaticCache(keys, values, cache.memory_keys, cache.memory_values, here=here)
            x = block(x, positions, state.context, part)
        hidden = model.norm(x[:, 0])
        before, now = state.slots.of(at), state.slots.of(at + 1)
        heads = model.head[now.codebook] if model.flattened else model.head
        logits = F.linear(hidden, heads.flatten(0, 1)).unflatten(1, heads.shape[:2])
        if model.pointer is not None and state.pointer is not None:
            logits = model.pointer.step_at(logits, hidden, cells, state.pointer, before, now)
        return logits


class Place:
    """Memory of one decoding at a time, of up to `capacity` positions and `frames` frames, and the graphs recorded on it."""

    def __init__(self, capacity: int, frames: int, run: Run) -> None:
        self.capacity = capacity
        self.frames = frames
        self.run = run
        self._tensors: dict[str, Tensor] = {}

    def settle(self, state: DecodingState) -> StaticState:
        """The state with all that a step reads or writes in this memory."""
        steps, context, pointer = self.capacity - state.prefix_length, state.context, state.pointer
        # In the format of the scores to which a bias is added: 0 and -inf are the same in each.
        memory_bias = None if context.memory_bias is None else context.memory_bias.to(state.caches[0].keys.dtype)
        return StaticState(
            layout=state.layout,
            context=Context(
                memory=self._put("memory", context.memory), memory_bias=self._put("memory bias", memory_bias)
            ),
            positions=Positions(
                self._put("bias", state.positions.bias, 3, self.capacity),
                self._put("rotations", state.positions.rotations, 0, self.capacity),
            ),
            caches=[self._cache(f"layer {number} ", cache) for number, cache in enumerate(state.caches)],
            step_embeddings=self._keep("embeddings", state.step_embeddings, 0, steps),
            codebook_offsets=self._keep("offsets", state.codebook_offsets, 0, steps),
            codebooks=state.codebooks,
            prefix_length=state.prefix_length,
            pointer=None if pointer is None else PointerCache(
                self._keep("pointer keys", pointer.keys, 2, self.frames + 1),
                self._keep("pointer codes", pointer.codes, 2, self.frames + 1),
            ),
            step=state.step,
            at=self._keep("at", torch.zeros(1, dtype=torch.int64, device=state.codebook_offsets.device)),
            slots=self._slots(state, steps),
            run=self.run,
        )  # fmt: skip

    def _cache(self, layer: str, cache: LayerCache) -> LayerCache:
        return LayerCache(
            self._keep(layer + "keys", cache.keys, 2, self.capacity),
            self._keep(layer + "values", cache.values, 2, self.capacity),
            self._put(layer + "memory keys", cache.memory_keys),
            self._put(layer + "memory values", cache.memory_values),
        )

    def _slots(self, state: DecodingState, steps: int) -> Slots:
        """The cells of all steps; the empty slots of one before the first step lead it, and their codes go to no frame."""
        layout = state.layout
        frame = layout.source % layout.step.shape[1]
        frame = frame.masked_fill(layout.source == layout.step.numel(), self.frames)
        codebook = torch.cat([layout.codebook[:1], layout.codebook])
        frame = torch.cat([torch.full_like(frame[:1], self.frames), frame])
        return Slots(
            self._keep("slots' codebook", codebook, 0, steps + 1), self._keep("slots' frame", frame, 0, steps + 1)
        )

    def _put(self, name: str, x: Tensor | None, axis: int = 0, size: int = 0) -> Tensor | None:
        return None if x is None else self._keep(name, x, axis, size)

    def _keep(self, name: str, x: Tensor, axis: int = 0, size: int = 0) -> Tensor:
        """Memory of that name that holds x, with room for `size` along an axis."""
        if name not in self._tensors:
            shape = list(x.shape)
            shape[axis] = max(shape[axis], size)
            self._tensors[name] = x.new_zeros(shape)
        kept = self._tensors[name]
        kept.narrow(axis, 0, x.shape[axis]).copy_(x)
        return kept


def whole_buckets(positions: int) -> int:
    """The least number of positions that fills buckets and holds these."""
    return -(-positions // BUCKET) * BUCKET
