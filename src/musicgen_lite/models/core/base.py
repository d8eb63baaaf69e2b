"""What the models share: code embeddings, positions, the stack of blocks, heads, and decoding with a cache."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from musicgen_lite import patterns
from musicgen_lite.models.core.beat import TEMPI, BeatCondition
from musicgen_lite.models.core.conditions import Conditions
from musicgen_lite.models.core.config import ModelConfig
from musicgen_lite.models.core.loss import cell_nll
from musicgen_lite.models.core.pointer import PointerCache, PointerHead
from musicgen_lite.models.core.transformer import (
    INIT_STD,
    Block,
    Context,
    LayerCache,
    Positions,
    key_bias,
    rotations,
    sinusoids,
)
from musicgen_lite.patterns import Layout

POSITION_SCALE = 0.03  # amplitude of sinusoidal positions, near the scale at which embeddings start


@dataclass
class DecodingState:
    """A decoding in progress: what stays the same for all steps, and the number of steps done."""

    layout: Layout
    context: Context
    positions: Positions
    caches: list[LayerCache]
    step_embeddings: Tensor  # [S, B, d], or [S, 1, d] where all rows have the same
    codebook_offsets: Tensor  # [S, C]: where the codebook of each input slot starts in the embedding table
    codebooks: list[int]  # of each step, in a flattened pattern
    prefix_length: int  # positions of the prefix, before the first step
    pointer: PointerCache | None = None
    step: int = 0
    compiled: object = None  # what a decoder keeps for the steps

    def first(self, rows: int) -> "DecodingState":
        """The same decoding for the first rows of the batch alone."""
        return replace(
            self,
            context=self.context.first(rows),
            positions=self.positions.first(rows),
            caches=[cache.first(rows) for cache in self.caches],
            step_embeddings=self.step_embeddings[:, :rows],
            pointer=self.pointer.first(rows) if self.pointer else None,
        )


class TextTokens(nn.Module):
    """Caption embeddings projected to d_model behind a learned null token.

    The null token is always visible, so that a row without a caption has something to attend to.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.null = nn.Embedding(1, config.d_model)
        self.projection = nn.Linear(config.text_dim, config.d_model, bias=False)
        self.position = nn.Embedding(config.max_text, config.d_model)

    def forward(self, conditions: Conditions) -> tuple[Tensor, Tensor]:
        """Tokens `[B, 1 + L, d]` and their mask `[B, 1 + L]`; ValueError if L is over the config's `max_text`."""
        length = conditions.text.shape[1]
        if length > len(self.position.weight):
            raise ValueError(f"a text of {length} tokens is longer than max_text ({len(self.position.weight)})")
        mask = conditions.text_mask & conditions.has_text[:, None]
        # Zeros where hidden: not even a NaN in the padding can reach the output. Normalised, because encoders differ.
        text = conditions.text.masked_fill(~mask[:, :, None], 0.0)
        text = F.layer_norm(text, text.shape[-1:]).to(self.projection.weight.dtype)
        tokens = self.projection(text) + self.position.weight[:length]
        null = self.null.weight.to(tokens.dtype).expand(len(tokens), 1, -1)
        return torch.cat([null, tokens], dim=1), F.pad(mask, (1, 0), value=True)


class LanguageModel(nn.Module, ABC):
    """Predicts codes step by step, in the order of its pattern. Subclasses define what a model reads besides the codes."""

    position_scale = POSITION_SCALE
    gradient_checkpointing = (
        False  # whether a block's activations are computed again in the backward pass, and not kept
    )

    def __init__(self, config: ModelConfig, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.config = config
        self.pattern = patterns.get(config.pattern)
        self.entries = config.codebook_size + 1
        # One table for all codebooks: the row of code k in codebook q is q * (K + 1) + k; the last of each is special.
        self.code_embedding = nn.Embedding(config.num_codebooks * self.entries, config.d_model)
        self.flattened = self.pattern.flattened(config.num_codebooks)
        self.codebook_embedding = nn.Embedding(config.num_codebooks, config.d_model) if self.flattened else None
        length = self.pattern.positions(config.max_frames, config.num_codebooks)
        if config.positions == "learned":
            self.position_embedding: Tensor | None = nn.Parameter(torch.empty(length, config.d_model))
        elif config.positions == "rotary":
            self.position_embedding = None
        else:
            # At full amplitude they would drown the codes' embeddings, which start at INIT_STD.
            positions = sinusoids(length, config.d_model) * self.position_scale
            self.register_buffer("position_embedding", positions, persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(config.d_model)
        self.head = nn.Parameter(torch.empty(config.num_codebooks, config.codebook_size, config.d_model))
        self.pointer = (
            PointerHead(config.num_codebooks, config.d_model, config.pointer_dim) if config.pointer_dim else None
        )
        self.beat = BeatCondition(config.text_dim, config.d_model) if config.beat else None

    def initialise(self) -> None:
        """Draw all weights from the global generator: normal, with residual branches scaled down as in GPT-2."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=INIT_STD)
        for name, parameter in self.named_parameters(recurse=True):
            if name.endswith(("out.weight", "down.weight")):
                nn.init.normal_(parameter, std=INIT_STD / math.sqrt(2 * self.config.layers))
        nn.init.normal_(self.head, std=INIT_STD)
        if self.pointer is not None:
            self.pointer.initialise()
        if isinstance(self.position_embedding, nn.Parameter):
            nn.init.normal_(self.position_embedding, std=INIT_STD)

    def tempos(self, conditions: Conditions) -> tuple[Tensor, Tensor]:
        """How likely each tempo is, given the captions: probabilities `[B, N]`, and the BPM `[N]` that they are of.

        ValueError for a model without a beat condition.
        """
        if self.beat is None:
            raise ValueError("this model has no beat condition, and knows no tempi")
        return self.beat.tempo_logits(conditions).float().softmax(-1), TEMPI.to(self.head.device)

    @abstractmethod
    def context(self, conditions: Conditions) -> Context:
        """What the model reads besides the codes; each model has its own."""

    def forward(self, codes: Tensor, conditions: Conditions) -> Tensor:
        """Logits `[B, N_q, T, K]` of every cell of codes `[B, N_q, T]`, each given all cells of earlier steps.

        ValueError if the clip is longer than the model's `max_frames`.
        """
        hidden, logits = self._read(codes, conditions)
        if self.pointer is not None:
            logits = self.pointer(logits, hidden, codes)
        return logits.transpose(0, 1)

    def nll(self, codes: Tensor, conditions: Conditions, mask: Tensor | None = None) -> Tensor:
        """What `cell_nll` makes of `forward`'s logits, float32 `[B, N_q, T]`, in less time and memory.

        Of what a pointer head points at, only the probability of the code that comes is computed.
        """
        hidden, logits = self._read(codes, conditions)
        nll = cell_nll(logits.transpose(0, 1), codes, mask)
        if self.pointer is None:
            return nll
        nll = self.pointer.nll(nll, hidden, codes)
        return nll if mask is None else nll.masked_fill(~mask[:, None], 0.0)

    def _read(self, codes: Tensor, conditions: Conditions) -> tuple[Tensor, Tensor]:
        """Hidden states `[N_q, B, T, d]` from which each cell is predicted, and the logits `[N_q, B, T, K]` of the heads."""
        layout = self._layout(codes.shape[2], codes.device)
        inputs = layout.inputs(codes, self.config.codebook_size)
        x = self.embed(inputs, layout.input_codebook * self.entries)
        x = x + self._step_embeddings(layout, conditions).transpose(0, 1)
        context = self.context(conditions)
        positions = self._positions(context, layout)
        if context.prefix is not None:
            x = torch.cat([context.prefix.to(x.dtype), x], dim=1)
        x = self.dropout(x)
        checkpointed = self.gradient_checkpointing and torch.is_grad_enabled()
        for block in self.blocks:
            x = (
                checkpoint(block, x, positions, context, use_reentrant=False)
                if checkpointed
                else block(x, positions, context)
            )
        # A cell's logits come from its own codebook's head alone: hidden states are put in the order of the cells first.
        hidden = self.norm(x[:, -layout.steps :]).index_select(1, layout.step.flatten())
        hidden = hidden.unflatten(1, layout.step.shape).transpose(0, 1)
        logits = torch.bmm(hidden.flatten(1, 2), self.head.transpose(1, 2)).unflatten(1, (len(codes), -1))
        return hidden, logits

    def start(
        self, conditions: Conditions, frames: int, prompt_tokens: Tensor | None = None, *, room: bool = True
    ) -> DecodingState:
        """Allocate caches for `frames` frames and fill them in one pass through all blocks.

        They are filled with the prefix, if any, and the given cells of the first steps, `prompt_tokens` `[B, S', C]`; the
        next step is S'. Without `room` caches end with what fills them, for a decoder that keeps the rest.
        """
        layout = self._layout(frames, conditions.text.device)
        context = self.context(conditions)
        positions = self._positions(context, layout)
        prefix_length = 0 if context.prefix is None else context.prefix.shape[1]
        blocks = cast(Sequence[Block], self.blocks)
        given = 0 if prompt_tokens is None else prompt_tokens.shape[1]
        capacity = prefix_length + (layout.steps if room else given)
        state = DecodingState(
            layout=layout,
            context=context,
            positions=positions,
            caches=[block.new_cache(context, len(conditions), capacity) for block in blocks],
            step_embeddings=self._step_embeddings(layout, conditions),
            codebook_offsets=layout.input_codebook * self.entries,
            codebooks=[cells[0][1] for cells in layout.cells_of],
            prefix_length=prefix_length,
            pointer=self.pointer.new_cache(len(conditions), frames) if self.pointer else None,
        )
        inputs = [] if context.prefix is None else [context.prefix]
        if prompt_tokens is not None and given:
            state.step = given
            inputs.append(self._embed_prompt(prompt_tokens, state))
        if inputs:
            x = torch.cat(inputs, dim=1)
            for block, cache in zip(self.blocks, state.caches, strict=True):
                x = block(x, positions, context, cache)
            if self.pointer is not None and state.pointer is not None and prompt_tokens is not None and state.step:
                self.pointer.fill(state.pointer, self.norm(x[:, prefix_length:]), prompt_tokens, layout)
        return state

    def _embed_prompt(self, prompt_tokens: Tensor, state: DecodingState) -> Tensor:
        """Input vectors `[B, S', d]` of the first steps, whose cells `[B, S', C]` are given."""
        rows, steps, cells = prompt_tokens.shape
        special = prompt_tokens.new_full((rows, 1, cells), self.config.codebook_size)
        inputs = torch.cat([special, prompt_tokens[:, :-1]], dim=1)
        return self.embed(inputs, state.codebook_offsets[:steps]) + state.step_embeddings[:steps].transpose(0, 1)

    def step(self, cells: Tensor, state: DecodingState) -> Tensor:
        """Logits `[B, C, K]` of the state's next step, given the cells `[B, C]` of the step before it."""
        s = state.step
        x = self.embed(cells[:, None], state.codebook_offsets[s]) + state.step_embeddings[s][:, None]
        for block, cache in zip(self.blocks, state.caches, strict=True):
            x = block(x, state.positions, state.context, cache, state.prefix_length + s)
        state.step += 1
        hidden = self.norm(x[:, 0])
        if self.flattened:
            logits = F.linear(hidden, self.head[state.codebooks[s]])[:, None]
        else:
            logits = F.linear(hidden, self.head.flatten(0, 1)).unflatten(1, self.head.shape[:2])
        if self.pointer is not None and state.pointer is not None:
            logits = self.pointer.step(logits, hidden, cells, state.pointer, state.layout, s)
        return logits

    def _layout(self, frames: int, device: torch.device) -> Layout:
        if frames > self.config.max_frames:
            raise ValueError(f"{frames} frames are more than the {self.config.max_frames} that the model is made for")
        return self.pattern.layout(frames, self.config.num_codebooks, device)

    def _positions(self, context: Context, layout: Layout) -> Positions:
        """Those of the prefix, whose padding is hidden, and of the steps."""
        bias, prefix = None, 0
        if context.prefix_mask is not None:
            prefix = context.prefix_mask.shape[1]
            bias = key_bias(F.pad(context.prefix_mask, (0, layout.steps), value=True))
        if self.config.positions != "rotary":
            return Positions(bias, None)
        dim = self.config.d_model // self.config.heads
        return Positions(bias, rotations(prefix, layout.steps, dim, layout.step.device))

    def embed(self, cells: Tensor, codebook_offsets: Tensor) -> Tensor:
        """Cells `[B, S, C]` as vectors `[B, S, d]`, summed over the cells of a step."""
        x = self.code_embedding(cells + codebook_offsets)
        return x[:, :, 0] if self.flattened else x.sum(dim=2)

    def _step_embeddings(self, layout: Layout, conditions: Conditions) -> Tensor:
        """What is added at each step: its frame's position, in a flattened pattern its codebook, and its place in the bar.

        `[S, 1, d]`, or `[S, B, d]` where the rows have beats of their own. Rotary positions are not added.
        """
        if self.position_embedding is None:
            x = self.code_embedding.weight.new_zeros(layout.steps, self.config.d_model)
        else:
            x = self.position_embedding[layout.position]
        if self.codebook_embedding is not None:
            x = x + self.codebook_embedding(layout.codebook[:, 0])
        if self.beat is None or conditions.beat is None:
            return x[:, None]
        times = layout.position.double() / self.config.frame_rate
        return x[:, None] + self.beat(conditions.beat, conditions.has_beat, times)
