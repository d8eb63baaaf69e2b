"""CLAP (Wu et al. 2023, arXiv:2211.06687): text and audio embedded in one space, by transformers' ClapModel."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from musicgen_lite import audio
from musicgen_lite.errors import UserError
from musicgen_lite.pretrained import damaged, load_model, load_tokenizer, locate, tokenizer_digest
from musicgen_lite.store import fingerprint

EMBEDDED = {"embedded": "clap", "judge": "clap_judge"}
PARAMETER = "score.clap"
# laion_clap, which the field's figures come from, cuts captions there.
MAX_TOKENS = 77
BATCH = 32
# What of the feature extractor changes its output, and of the model beside its weights.
EXTRACTOR_KEYS = (
    "feature_size", "fft_window_size", "frequency_max", "frequency_min", "hop_length", "max_length_s", "padding",
    "sampling_rate", "top_db", "truncation",
)  # fmt: skip
AUDIO_KEYS = ("depths", "enable_fusion", "num_attention_heads", "patch_stride", "spec_size", "window_size")
TEXT_KEYS = ("num_attention_heads", "num_hidden_layers", "pad_token_id")


def load_clap(name: str, trusted: Collection[str] = ()) -> "ClapScorer":
    """The CLAP called `name`: "embedded" and "judge" (shipped with the package), a directory, or a hub name.

    The feature extractor is the one saved with the model: the defaults of its class fit no known checkpoint.
    See `pretrained.locate` for names and `trusted`. Raises UserError where the model is unknown, out of reach, or its files are missing or damaged.
    """
    from transformers import ClapFeatureExtractor, ClapModel

    source = locate(name, PARAMETER, EMBEDDED, trusted)
    tokenizer = load_tokenizer(source)
    try:
        extractor = ClapFeatureExtractor.from_pretrained(source.folder)
    except Exception as error:  # transformers raises several types here
        raise damaged(error, source) from error
    return ClapScorer(load_model(ClapModel, source), extractor, tokenizer, source.revision)


class ClapScorer:
    """Embeds captions and audio; the dot product of two of its vectors is their cosine.

    rate: of the audio in Hz; window_s: the seconds of audio it hears at once; dim: length D of its vectors;
    fingerprint: of the weights, the feature extractor and the tokenizer: figures of two fingerprints don't compare;
    revision: the hub's commit it was read from, if any.
    """

    def __init__(self, model: Any, extractor: Any, tokenizer: Any, revision: str = "") -> None:
        self._model, self._extractor, self._tokenizer, self.revision = model, extractor, tokenizer, revision
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

    @property
    def _window(self) -> int:
        return round(self.window_s * self.rate)

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """Captions as float32 `[N, D]` of length 1; what lies beyond 77 tokens is cut."""
        import torch

        rows = [np.zeros((0, self.dim), np.float32)]
        for start in range(0, len(texts), BATCH):
            tokens = self._tokenizer(
                list(texts[start : start + BATCH]), truncation=True, max_length=MAX_TOKENS, padding=True,
                return_tensors="pt",
            )  # fmt: skip
            with torch.inference_mode():
                output = self._model.get_text_features(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
            rows.append(output.pooler_output.numpy())
        return np.concatenate(rows)

    def embed_audio(self, windows: Sequence[np.ndarray]) -> np.ndarray:
        """Waveforms `[T]` at `rate`, each at most a window long, as float32 `[N, D]` of length 1.

        A shorter one is filled up as the model's own feature extractor says: usually repeated as often as it fits
        whole, then zeros. Raises UserError naming the waveform that is empty or holds NaN or infinite samples.
        """
        import torch

        for number, window in enumerate(windows):
            self._check(window, f"audio {number}")
        rows = [np.zeros((0, self.dim), np.float32)]
        for start in range(0, len(windows), BATCH):
            batch = [np.asarray(window, dtype=np.float64) for window in windows[start : start + BATCH]]
            features = self._extractor(batch, sampling_rate=self.rate, return_tensors="pt")
            # Left to itself, a fusion extractor marks a random item as longer than the window; none is.
            longer = torch.zeros(len(batch), 1, dtype=torch.bool)
            with torch.inference_mode():
                output = self._model.get_audio_features(
                    input_features=features.input_features.float(), is_longer=longer
                )
            rows.append(output.pooler_output.numpy())
        return np.concatenate(rows)

    def _check(self, samples: np.ndarray, name: str) -> None:
        if samples.ndim != 1 or len(samples) > self._window:
            raise ValueError(f"{name}: shape {samples.shape}, expected [T] with T <= {self._window}")
        reason = "empty" if not len(samples) else "" if np.isfinite(samples).all() else "NaN or infinite samples"
        if reason:
            raise UserError(f"CLAP, {name}: {reason}; at least one sample is needed, all of them finite")

    def windows(self, samples: np.ndarray) -> list[np.ndarray]:
        """Cut `[T]` at `rate` into windows without overlap, and one more aligned to the end where some is left over.

        A clip no longer than a window is one window as it is.
        """
        size = self._window
        starts = list(range(0, max(len(samples) - size, 0) + 1, size))
        if len(samples) > starts[-1] + size:
            starts.append(len(samples) - size)
        return [samples[start : start + size] for start in starts]

    def embed_clip(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Any waveform `[T]` at `rate` Hz as `[W, D]`, one row of length 1 for each of its windows."""
        return self.embed_audio(self.windows(audio.resample(samples, rate, self.rate)))

    def fit(self, captions: Sequence[str], rate: int, waves: Sequence[np.ndarray], owners: Sequence[int]) -> np.ndarray:
        """Cosine `[N]` of each waveform `[T]` at `rate` Hz, averaged over its windows, with its owner among the captions."""
        audio = np.stack([self.embed_clip(wave, rate).mean(axis=0) for wave in waves])
        return (audio * self.embed_text(captions)[np.asarray(owners)]).sum(axis=1)
