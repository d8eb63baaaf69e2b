"""Model A: a GPT-2 style prefix language model. The caption stands before the codes in one causal sequence."""

from musicgen_lite.models.core.base import LanguageModel, TextTokens
from musicgen_lite.models.core.conditions import Conditions
from musicgen_lite.models.core.config import ModelConfig
from musicgen_lite.models.core.transformer import Block, Context


class PrefixModel(LanguageModel):
    """Reads [null, caption tokens, codes].

    Padding of the prefix is masked and codes have positions of their own, so that the padding of a batch changes nothing.
    Audio prompts are ignored.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, [Block(config.d_model, config.heads, config.dropout) for _ in range(config.layers)])
        self.text = TextTokens(config)
        self.initialise()

    def context(self, conditions: Conditions) -> Context:
        """The caption `[B, L, D_t]` as a prefix `[B, 1 + L, d]`."""
        prefix, mask = self.text(conditions)
        return Context(prefix=prefix, prefix_mask=mask)
