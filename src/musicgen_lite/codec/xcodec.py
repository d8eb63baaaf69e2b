"""X-Codec (Ye et al. 2024), on the modules of transformers' XcodecModel.

A DAC's encoder and a speech model such as HuBERT hear the audio, and one residual vector quantiser takes what both say. The speech
model attends to the whole of it, so that encoding is not done in pieces, and takes memory with the square of the length.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import XcodecModel

from musicgen_lite.codec import neural
from musicgen_lite.codec.dac import checked_hop, named_tensors, reach
from musicgen_lite.codec.neural import NeuralCodec, Sizes, check_trained, residual_codes
from musicgen_lite.io.hashing import fingerprint

# Keys of the configurations that change codes or waveforms and no tensor's shape; names, versions and what training needs don't.
_OWN = ("sample_rate", "strides", "block_dilations")
_SEMANTIC = (
    "model_type", "conv_stride", "do_stable_layer_norm", "feat_extract_activation", "feat_extract_norm", "hidden_act", "layer_norm_eps",
    "max_bucket_distance", "num_attention_heads", "num_buckets", "num_conv_pos_embedding_groups",
)  # fmt: skip
_PARTS = ("acoustic_encoder", "acoustic_decoder", "encoder_semantic", "semantic_model", "fc", "fc2")


class Xcodec(NeuralCodec):
    """The codec of `model` with its first `num_codebooks` codebooks; see `Codec` for its members.

    Waveforms are filled up with zeros to whole frames.
    """

    def __init__(
        self, model: XcodecModel, name: str, revision: str, num_codebooks: int, device: torch.device, parameter: str
    ) -> None:
        config, levels = model.config, model.quantizer.quantizers
        acoustic = config.acoustic_model_config
        hop = checked_hop(name, acoustic.downsampling_ratios, acoustic.upsampling_ratios, parameter)
        super().__init__(
            name, revision, Sizes(config.sample_rate, hop, config.codebook_size, len(levels)), num_codebooks, device
        )
        self.context = reach(model.acoustic_decoder, hop, hop)
        self._vectors = torch.stack([level.codebook.embed for level in levels[:num_codebooks]]).to(device)
        check_trained(name, self._vectors, parameter)
        self.fingerprint = self._fingerprint(model)
        self._model = model.to(device)
        self._levels = levels[:num_codebooks]

    def _fingerprint(self, model: XcodecModel) -> str:
        def values(config: Any, keys: tuple[str, ...]) -> dict[str, Any]:
            return {key: getattr(config, key, None) for key in keys}

        acoustic = model.config.acoustic_model_config
        identity = {
            "type": "xcodec", "num_codebooks": self.num_codebooks, "piece_s": neural.PIECE_S, "context": self.context,
            "down": list(acoustic.downsampling_ratios), "up": list(acoustic.upsampling_ratios), **values(model.config, _OWN),
            "semantic": values(model.config.semantic_model_config, _SEMANTIC),
        }  # fmt: skip
        tensors = named_tensors({part: getattr(model, part) for part in _PARTS})
        return fingerprint(tensors | {"codebooks": self._vectors}, identity)

    def codebooks(self) -> Tensor:
        """`[N_q, K, D]`; see `Codec.codebooks`."""
        return self._vectors

    def _latents(self, wave: Tensor) -> Tensor:
        """As `XcodecModel.encode` comes to what it quantises."""
        model, whole = self._model, functional.pad(wave, (0, -wave.shape[-1] % self.hop)).unsqueeze(1)
        semantic = model.encoder_semantic(model._extract_semantic_features(whole).transpose(1, 2))
        acoustic = model.acoustic_encoder(whole)
        if acoustic.shape[2] != semantic.shape[2]:
            acoustic = model.acoustic_encoder(functional.pad(whole, (model.pad, model.pad)))
        return model.fc(torch.cat([acoustic, semantic], dim=1).transpose(1, 2)).transpose(1, 2)

    def _quantised(self, latents: Tensor) -> Tensor:
        return residual_codes(self._levels, latents)

    def _waves(self, codes: Tensor) -> Tensor:
        latents = self._model.fc2(self._model.quantizer.decode(codes.transpose(0, 1)).transpose(1, 2)).transpose(1, 2)
        return self._in_pieces(self._model.acoustic_decoder, latents, 1, self.hop).squeeze(1)
