"""The encoder of T5 (Raffel et al. 2020, arXiv:1910.10683) in transformers' files: shipped, in a directory, or on the hub."""

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from musicgen_lite.errors import UserError
from musicgen_lite.io.hashing import fingerprint
from musicgen_lite.pretrained import Source, check_type, load_model, load_tokenizer, locate, tokenizer_digest
from musicgen_lite.text import coverage

if TYPE_CHECKING:  # torch takes seconds to load
    import torch

EMBEDDED = {"embedded": "text"}
PART = "text_encoder"  # of a MusicGen checkpoint
COUNT_BATCH = 1024  # texts tokenized at once to count their tokens
HALF_MAX = float(np.finfo(np.float16).max)
# What of T5's configuration changes its output, beside its weights.
CONFIG_KEYS = (
    "d_kv", "dense_act_fn", "is_gated_act", "layer_norm_epsilon", "num_heads", "num_layers",
    "relative_attention_max_distance", "relative_attention_num_buckets",
)  # fmt: skip


def read(name: str, trusted: Collection[str], parameter: str) -> tuple[Any, Any, Source]:
    """transformers' model of the encoder called `name`, its tokenizer, and their files."""
    from transformers import T5EncoderModel

    source = locate(name, parameter, EMBEDDED, trusted)
    check_type(source, "t5", part=PART)
    return load_model(T5EncoderModel, source, PART), load_tokenizer(source), source


def load(name: str, *, device: "str | torch.device", trusted: Collection[str], parameter: str) -> "T5TextEncoder":
    """The T5 encoder called `name`; see `text.load`."""
    model, tokenizer, source = read(name, trusted, parameter)
    return T5TextEncoder(model.to(device), tokenizer, source.pinned, source.revision, parameter)


def tokenizer(name: str, *, trusted: Collection[str], parameter: str) -> Any:
    """The tokenizer of the encoder called `name`; see `text.tokenizer`."""
    return load_tokenizer(locate(name, parameter, EMBEDDED, trusted, small=True))


class T5TextEncoder:
    """A T5EncoderModel with its tokenizer, in float32 (T5 overflows in float16); see `TextEncoder` for its members."""

    def __init__(
        self, model: Any, tokenizer: Any, name: str = "", revision: str = "", parameter: str = "text.name"
    ) -> None:
        self._model, self._tokenizer, self.name, self.revision = model, tokenizer, name, revision
        self._parameter = parameter
        self.dim = int(model.config.d_model)
        config = {key: getattr(model.config, key) for key in CONFIG_KEYS}
        self.fingerprint = fingerprint(model.state_dict(), {**config, "tokenizer": tokenizer_digest(tokenizer)})

    def num_tokens(self, texts: Sequence[str]) -> list[int]:
        """One count for each of `texts`; see `TextEncoder.num_tokens`."""
        # In batches: the tokenizer's output takes many times the memory of the text itself.
        parts = (list(texts[start : start + COUNT_BATCH]) for start in range(0, len(texts), COUNT_BATCH))
        return [len(ids) for part in parts for ids in self._tokenizer(part).input_ids]

    def unknown_characters(self, text: str) -> list[str]:
        """See `TextEncoder.unknown_characters`."""
        return coverage.unknown_characters(self._tokenizer, text)

    def coverage_warning(self, texts: Sequence[str], what: str) -> str:
        """See `coverage.coverage_warning`."""
        return coverage.coverage_warning(texts, what, lambda: self._tokenizer)

    def encode(self, texts: Sequence[str], max_tokens: int) -> list[np.ndarray]:
        """`[L, D]` for each of `texts`; see `TextEncoder.encode`.

        Texts of equal length form a batch, so that nothing is padded.
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
                f"{self._parameter} {self.name!r}: the text {text[:80]!r} has a vector with {largest:g} in it, but half "
                f"precision, in which vectors are stored, ends at {HALF_MAX:g}; the weights may be damaged: choose another"
            )
