"""The text encoder: T5 (Raffel et al. 2020, arXiv:1910.10683), its encoder half, frozen."""

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from musicgen_lite.errors import UserError
from musicgen_lite.io.store import fingerprint
from musicgen_lite.pretrained import check_type, load_model, load_tokenizer, locate, tokenizer_digest
from musicgen_lite.text import legible

if TYPE_CHECKING:  # see store
    import torch

EMBEDDED = {"embedded": "text"}
PARAMETER, PART = "text.name", "text_encoder"
COUNTED = 1024  # texts whose tokens are counted at once
HALF_MAX = float(np.finfo(np.float16).max)
# What of T5's configuration changes its output beside the weights themselves.
CONFIG_KEYS = (
    "d_kv", "dense_act_fn", "is_gated_act", "layer_norm_epsilon", "num_heads", "num_layers",
    "relative_attention_max_distance", "relative_attention_num_buckets",
)  # fmt: skip


def load(name: str, trusted: Collection[str] = (), device: "str | torch.device" = "cpu") -> "TextEncoder":
    """The text encoder called `name` on `device`: "embedded" (shipped with the package), a directory, or a hub name.

    T5 and Flan-T5 of any size, such as t5-base or google/flan-t5-large; of a checkpoint of the whole model only the
    encoder is read. See `pretrained.locate` for names and `trusted`. Raises UserError where it is unknown, out of reach,
    no T5, or its files are missing or damaged.
    """
    from transformers import T5EncoderModel

    source = locate(name, PARAMETER, EMBEDDED, trusted)
    check_type(source, "t5", PART)
    model = load_model(T5EncoderModel, source, PART).to(device)
    return TextEncoder(model, load_tokenizer(source), source.pinned, source.revision)


def tokenizer(name: str, trusted: Collection[str] = ()) -> Any:
    """The tokenizer of the text encoder called `name`, without its weights; see `load`."""
    return load_tokenizer(locate(name, PARAMETER, EMBEDDED, trusted, small=True))


def batches(lengths: Sequence[int], size: int) -> list[list[int]]:
    """The numbers of texts of these `lengths`, `size` to a batch, those of equal length side by side.

    The longest come first, so that memory that is too small shows at once.
    """
    order = sorted(range(len(lengths)), key=lambda number: -lengths[number])
    return [order[start : start + size] for start in range(0, len(order), size)]


class TextEncoder:
    """One vector for each token of a text, in float32 (T5 overflows in float16).

    dim: length D of the vectors; fingerprint: of the weights, the tokenizer and what else decides the output;
    name: by which this very encoder is found again; revision: the hub's commit it was read from, if any.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str = "", revision: str = "") -> None:
        self._model, self._tokenizer, self.name, self.revision = model, tokenizer, name, revision
        self.dim = int(model.config.d_model)
        config = {key: getattr(model.config, key) for key in CONFIG_KEYS}
        self.fingerprint = fingerprint(model.state_dict(), {**config, "tokenizer": tokenizer_digest(tokenizer)})

    def num_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, its end token counted, before any cut."""
        # A few at a time: what the tokenizer says of each piece takes many times the text's own memory.
        parts = (list(texts[start : start + COUNTED]) for start in range(0, len(texts), COUNTED))
        return [len(ids) for part in parts for ids in self._tokenizer(part).input_ids]

    def unknown(self, text: str) -> list[str]:
        """The characters of a text that the tokenizer has no piece for, in order, each once."""
        return legible.unknown(self._tokenizer, text)

    def remark(self, texts: Sequence[str], what: str) -> str:
        """What is to be said of texts that it cannot read, see `legible.remark`; raises UserError where it can read none."""
        return legible.remark(texts, what, lambda: self._tokenizer)

    def encode(self, texts: Sequence[str], max_tokens: int) -> list[np.ndarray]:
        """Embed `texts`: for each a float32 array `[L, D]`, `1 <= L <= max_tokens`, whose values fit half precision.

        A longer text is cut, keeping the end token. Texts of equal length go through the model together, so that nothing
        is padded: a text gives the same in any company, up to the rounding of larger products. Raises UserError naming a
        text whose vectors overflow half precision, in which they are stored.
        """
        if not texts:
            return []
        tokens = self._tokenizer(list(texts), truncation=True, max_length=max_tokens).input_ids
        rows = sorted(range(len(texts)), key=lambda row: len(tokens[row]))
        found: dict[int, np.ndarray] = {}
        for _, group in groupby(rows, key=lambda row: len(tokens[row])):
            batch = list(group)
            for row, states in zip(batch, self._states([tokens[row] for row in batch]), strict=True):
                self._check(texts[row], states)
                # A copy, so that keeping one text does not keep the whole batch.
                found[row] = states.copy()
        return [found[row] for row in range(len(texts))]

    def _states(self, ids: list[list[int]]) -> np.ndarray:
        """The encoder's output `[B, L, D]` for equally long rows of tokens."""
        import torch

        with torch.inference_mode():
            return self._model(input_ids=torch.tensor(ids, device=self._model.device)).last_hidden_state.cpu().numpy()

    def _check(self, text: str, states: np.ndarray) -> None:
        largest = float(np.abs(states).max())
        if not largest <= HALF_MAX:  # a NaN is not either
            raise UserError(
                f"{PARAMETER} {self.name!r}: the text {text[:80]!r} has a vector with {largest:g} in it, but half "
                f"precision, in which vectors are stored, ends at {HALF_MAX:g}; the weights may be damaged: choose another"
            )
