"""The text encoder: T5 (Raffel et al. 2020, arXiv:1910.10683), its encoder half, frozen."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from musicgen_lite.pretrained import load_model, load_tokenizer, locate, tokenizer_digest
from musicgen_lite.store import fingerprint

EMBEDDED = {"embedded": "text"}
PARAMETER, PART = "text.name", "text_encoder"
# What of T5's configuration changes its output beside the weights themselves.
CONFIG_KEYS = (
    "d_kv", "dense_act_fn", "is_gated_act", "layer_norm_epsilon", "num_heads", "num_layers",
    "relative_attention_max_distance", "relative_attention_num_buckets",
)  # fmt: skip


def load(name: str, trusted: Collection[str] = ()) -> "TextEncoder":
    """The text encoder called `name`: "embedded" (shipped with the package), a directory, or a hub name such as t5-base.

    See `pretrained.locate` for names and `trusted`. Raises UserError where it is unknown, out of reach, or its files are missing or damaged.
    """
    from transformers import T5EncoderModel

    source = locate(name, PARAMETER, EMBEDDED, trusted)
    return TextEncoder(load_model(T5EncoderModel, source, PART), load_tokenizer(source), source.revision)


class TextEncoder:
    """One vector for each token of a text, in float32 (T5 overflows in float16).

    dim: length D of the vectors; fingerprint: of the weights, the tokenizer and what else decides the output;
    revision: the hub's commit it was read from, if any.
    """

    def __init__(self, model: Any, tokenizer: Any, revision: str = "") -> None:
        self._model, self._tokenizer, self.revision = model, tokenizer, revision
        self.dim = int(model.config.d_model)
        config = {key: getattr(model.config, key) for key in CONFIG_KEYS}
        self.fingerprint = fingerprint(model.state_dict(), {**config, "tokenizer": tokenizer_digest(tokenizer)})

    def num_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, its end token counted, before any cut."""
        return [len(ids) for ids in self._tokenizer(list(texts)).input_ids] if texts else []

    def unknown(self, text: str) -> list[str]:
        """The characters of a text that the tokenizer has no piece for, in order, each once."""
        unk = self._tokenizer.unk_token_id
        found = []
        for character in dict.fromkeys(text):
            if not character.isascii():
                ids = self._tokenizer(character, add_special_tokens=False).input_ids
                # Pieces of bytes decode to the replacement character.
                if unk in ids or any("\ufffd" in self._tokenizer.decode([piece]) for piece in ids):
                    found.append(character)
        return found

    def encode(self, texts: Sequence[str], max_tokens: int) -> list[np.ndarray]:
        """Embed `texts`: for each a float32 array `[L, D]`, `1 <= L <= max_tokens`, without padding.

        A longer text is cut, keeping the end token. Padding is masked: a text gives the same in any batch, up to rounding.
        """
        import torch

        if not texts:
            return []
        tokens = self._tokenizer(list(texts), truncation=True, max_length=max_tokens, padding=True, return_tensors="pt")
        with torch.inference_mode():
            states = self._model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
        lengths = tokens.attention_mask.sum(dim=1).tolist()
        # Copies, so that keeping one text does not keep the whole batch.
        return [states[row, :length].numpy().copy() for row, length in enumerate(lengths)]
