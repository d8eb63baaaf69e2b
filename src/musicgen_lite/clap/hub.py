"""CLAP in transformers' files: shipped, in a directory, or on the hub."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from musicgen_lite.clap.scorer import MAX_TOKENS, ClapScorer
from musicgen_lite.io.hashing import fingerprint
from musicgen_lite.pretrained import damaged, load_model, load_tokenizer, locate, tokenizer_digest

if TYPE_CHECKING:
    import torch

EMBEDDED = {"embedded": "clap", "judge": "clap_judge"}
# What of the feature extractor's and the model's configuration changes the output, beside weights.
EXTRACTOR_KEYS = (
    "feature_size", "fft_window_size", "frequency_max", "frequency_min", "hop_length", "max_length_s", "padding",
    "sampling_rate", "top_db", "truncation",
)  # fmt: skip
AUDIO_KEYS = (
    "depths", "enable_fusion", "hidden_act", "layer_norm_eps", "num_attention_heads", "patch_stride",
    "projection_hidden_act", "spec_size", "window_size",
)  # fmt: skip
TEXT_KEYS = (
    "hidden_act", "layer_norm_eps", "num_attention_heads", "num_hidden_layers", "pad_token_id", "projection_hidden_act"
)  # fmt: skip
# The configuration key in which `clap.convert` records the sha256 of the converted checkpoint.
CONVERTED = "laion_checkpoint_sha256"


def load(name: str, *, device: "str | torch.device", trusted: Collection[str], parameter: str) -> "TransformersClap":
    """The ClapModel called `name`; see `clap.load`.

    The feature extractor is the one saved with the model: its class's defaults fit no known checkpoint.
    """
    from transformers import ClapFeatureExtractor, ClapModel

    source = locate(name, parameter, EMBEDDED, trusted)
    tokenizer = load_tokenizer(source)
    try:
        extractor = ClapFeatureExtractor.from_pretrained(source.folder)
    except Exception as error:  # transformers raises several types here
        raise damaged(error, source) from error
    model = load_model(ClapModel, source).to(device)
    origin = {
        "name": name,
        "revision": source.revision,
        "sha256": source.sha256 or getattr(model.config, CONVERTED, ""),
    }
    return TransformersClap(model, extractor, tokenizer, origin)


class TransformersClap(ClapScorer):
    """A ClapModel with its feature extractor and tokenizer, on the model's device."""

    def __init__(self, model: Any, extractor: Any, tokenizer: Any, origin: dict[str, str] | None = None) -> None:
        self._model, self._extractor, self._tokenizer = model, extractor, tokenizer
        self.origin = {"backend": "transformers", **(origin or {})}
        self.rate = int(extractor.sampling_rate)
        self.window_s = float(extractor.max_length_s)
        self.dim = int(model.config.projection_dim)
        self.fingerprint = fingerprint(
            model.state_dict(),
            {
                "audio": {key: getattr(model.config.audio_config, key) for key in AUDIO_KEYS},
                "text": {key: getattr(model.config.text_config, key) for key in TEXT_KEYS},
                "extractor": {key: getattr(extractor, key) for key in EXTRACTOR_KEYS},
                "tokenizer": tokenizer_digest(tokenizer),
                "max_tokens": MAX_TOKENS,
            },
        )

    def _texts(self, texts: list[str]) -> "torch.Tensor":
        tokens = self._tokenizer(texts, truncation=True, max_length=MAX_TOKENS, padding=True, return_tensors="pt")
        tokens = tokens.to(self._model.device)
        output = self._model.get_text_features(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
        features: torch.Tensor = output.pooler_output
        return features

    def _audio(self, windows: list[np.ndarray]) -> "torch.Tensor":
        import torch

        batch = [np.asarray(window, dtype=np.float64) for window in windows]
        mels = self._extractor(batch, sampling_rate=self.rate, return_tensors="pt").input_features.float()
        # By default a fusion extractor marks a random item as longer than the window; none is.
        longer = torch.zeros(len(batch), 1, dtype=torch.bool)
        output = self._model.get_audio_features(input_features=mels.to(self._model.device), is_longer=longer)
        features: torch.Tensor = output.pooler_output
        return features
