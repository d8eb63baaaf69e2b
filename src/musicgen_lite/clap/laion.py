"""CLAP in LAION's own package laion-clap, with which audiocraft and most papers score.

The package is imported only where a LAION checkpoint is named, since that takes seconds. At import it requests three
tokenizers from the hub, and without a network waits 23 s for each file. It needs only RoBERTa's tokenizer, configuration and
weights: these are located first, and the import happens offline.
"""

import contextlib
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from musicgen_lite.clap.checkpoint import ROBERTA, read_checkpoint
from musicgen_lite.clap.scorer import MAX_TOKENS, ClapScorer
from musicgen_lite.errors import UserError, require
from musicgen_lite.io.hashing import fingerprint
from musicgen_lite.pretrained import load_tokenizer, locate, tokenizer_digest

if TYPE_CHECKING:
    import torch

# What of RoBERTa's configuration changes its output, beside its weights.
TEXT_KEYS = ("hidden_act", "layer_norm_eps", "num_attention_heads", "pad_token_id")
SUFFIX = ".pt"  # of a checkpoint's name


def load(name: str, *, device: "str | torch.device", trusted: Collection[str], parameter: str) -> "LaionClap":
    """The LAION checkpoint in the file `name`, run by laion-clap; see `clap.load`.

    Raises UserError where the package or roberta-base is missing, and as `read_checkpoint` does.
    """
    checkpoint = read_checkpoint(Path(name).expanduser(), parameter, trusted)
    source = locate(ROBERTA, f"{parameter} {name}: its text encoder", {}, trusted)
    checkpoint.check_vocabulary(load_tokenizer(source))
    with offline_and_quiet():
        laion_clap = require(
            "laion_clap",
            extra="laion",
            purpose=f"{parameter}: {name}",
            otherwise="with Python 3.13, for which it has no release, or to do without it, convert the checkpoint once, "
            f"`musicgen-lite convert-clap {name} DIRECTORY --sha256 {checkpoint.sha256}`, and name the directory",
        )
        try:
            module = laion_clap.CLAP_Module(checkpoint.fusion, "cpu", checkpoint.architecture)
            module.model.load_state_dict(dict(checkpoint.tensors))
        except RuntimeError as error:  # no such architecture, or other tensors
            raise UserError(f"{name}: not the weights of laion-clap's {checkpoint.architecture}: {error}") from error
    origin = {"name": name, "revision": "", "sha256": checkpoint.sha256}
    return LaionClap(module.eval().requires_grad_(False).to(device), origin)


@contextlib.contextmanager
def offline_and_quiet() -> Iterator[None]:
    """Let the hub's client use only its cache, and silence warnings and progress bars."""
    from huggingface_hub import constants
    from transformers.utils import logging

    logging.disable_progress_bar()
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        constants.HF_HUB_OFFLINE = before


class LaionClap(ClapScorer):
    """A CLAP_Module of laion-clap. Audio is not rounded to 16 bits first: only the package's example does so."""

    def __init__(self, module: Any, origin: dict[str, str]) -> None:
        self._module = module
        self.origin = {"backend": "laion-clap", **origin}
        audio = module.model_cfg["audio_cfg"]
        self.rate = int(audio["sample_rate"])
        self.window_s = audio["clip_samples"] / self.rate
        self.dim = int(module.model.joint_embed_shape)
        text = module.model.text_branch.config
        self.fingerprint = fingerprint(
            module.model.state_dict(),
            {
                "backend": "laion-clap",
                "audio": audio,
                "fusion": module.enable_fusion,
                "text": {key: getattr(text, key) for key in TEXT_KEYS},
                "tokenizer": tokenizer_digest(module.tokenize),
                "max_tokens": MAX_TOKENS,
            },
        )

    def _texts(self, texts: list[str]) -> "torch.Tensor":
        features: torch.Tensor = self._module.get_text_embedding(texts, use_tensor=True)
        return features

    def _audio(self, windows: list[np.ndarray]) -> "torch.Tensor":
        import torch

        waves = [torch.from_numpy(np.ascontiguousarray(window, np.float32)) for window in windows]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torchaudio, for each clip, about an argument that the package passes
            features: torch.Tensor = self._module.get_audio_embedding_from_data(waves, use_tensor=True)
        return features
