"""Model B: the decoder reads captions and audio prompts by cross-attention, as MusicGen does."""

import torch
import torch.nn.functional as F
from torch import nn

from musicgen_lite.models.core.base import LanguageModel, TextTokens
from musicgen_lite.models.core.conditions import Conditions
from musicgen_lite.models.core.config import ModelConfig
from musicgen_lite.models.core.transformer import INIT_STD, Context, CrossBlock, key_bias, sinusoids


class CrossModel(LanguageModel):
    """Memory: [null, caption tokens, audio prompt frames], each projected to d_model, with type and position embeddings.

    A prompt frame is the sum of its N_q code embeddings, from the same table as the model's own codes. Frames of the special
    id, with which a short prompt is padded, are masked.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(
            config, [CrossBlock(config.d_model, config.heads, config.dropout) for _ in range(config.layers)]
        )
        self.text = TextTokens(config)
        self.prompt_projection = nn.Linear(config.d_model, config.d_model, bias=False)
        self.prompt_position = nn.Embedding(config.max_prompt_frames, config.d_model)
        self.type_embedding = nn.Embedding(2, config.d_model)  # text, prompt
        self.initialise()

    def initialise(self) -> None:
        """As in the base class, but the memory starts at unit scale, because nothing normalises it before keys and values.

        Prompt positions start as sinusoids, so that neighbouring frames start out near.
        """
        super().initialise()
        with torch.no_grad():
            self.prompt_position.weight.copy_(sinusoids(*self.prompt_position.weight.shape) * INIT_STD)
            for projection in (self.text.projection, self.prompt_projection):
                projection.weight.normal_(std=projection.in_features**-0.5)

    def context(self, conditions: Conditions) -> Context:
        """Caption `[B, L, D_t]` and prompt `[B, N_q, P]` as a memory `[B, 1 + L + P, d]`.

        ValueError if the prompt is longer than `max_prompt_frames`.
        """
        memory, mask = self.text(conditions)
        memory = memory + self.type_embedding.weight[0]
        if conditions.prompt is None:
            return Context(memory=memory, memory_bias=key_bias(mask))
        frames = conditions.prompt.shape[2]
        if frames > self.config.max_prompt_frames:
            raise ValueError(f"a prompt of {frames} frames is longer than {self.config.max_prompt_frames}")
        codebooks = torch.arange(self.config.num_codebooks, device=mask.device)
        codes = self.code_embedding(conditions.prompt.transpose(1, 2) + codebooks * self.entries).sum(dim=2)
        codes = F.layer_norm(codes, codes.shape[-1:])
        prompt = self.prompt_projection(codes) + self.prompt_position.weight[:frames] + self.type_embedding.weight[1]
        visible = conditions.has_prompt[:, None] & (conditions.prompt[:, 0] != self.config.codebook_size)
        memory = torch.cat([memory, prompt.to(memory.dtype)], dim=1)
        return Context(memory=memory, memory_bias=key_bias(torch.cat([mask, visible], dim=1)))
