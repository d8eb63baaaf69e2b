"""The training loop of the shipped codec.

The learning rate is constant for `stable_steps`, then falls over `decay_steps` (warmup, stable, decay; Hu et al. 2024,
MiniCPM): the first part may last as long as there is time for, and a short decay ends it from any of its steps. The
decoder learns alone in the last part of the decay. The data of a step depend on the seed and the step's number alone.
"""

import copy
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import EncodecConfig, EncodecModel
from transformers.models.encodec import modeling_encodec

from musicgen_lite.training.schedule import ema_decay, linear_warmup, update_ema
from pretraining import losses
from pretraining.quantiser import EmaQuantiser
from pretraining.widen import widen

FULL_SCALE = 32767.0
# Batches are numbered: training steps from 0, those that fit the codebooks from here, and the one that scales the start.
CODEBOOKS = 2**31 + 1
START = 2**32 - 1
LIBRARY_PAD = modeling_encodec.EncodecConv1d._pad1d


def pad(states: Tensor, paddings: tuple[int, int], mode: str = "zero", value: float = 0.0) -> Tensor:
    """What transformers pads `[B, C, T]` with, made of slices: with its gradient that saves an eighth of a step."""
    left, right = paddings
    if mode != "reflect" or states.shape[-1] <= max(left, right):
        return LIBRARY_PAD(states, paddings, mode, value)
    parts = [states[..., 1 : left + 1].flip(-1), states, states[..., states.shape[-1] - right - 1 : -1].flip(-1)]
    return torch.cat(parts, dim=-1)


def build(params: dict[str, Any], rate: int) -> EncodecModel:
    """An EncodecModel `[B, 1, T]` at `rate` Hz as `params` say, its weights seeded, its codebooks zero."""
    hop, size, number = math.prod(params["strides"]), params["codebook_size"], params["num_codebooks"]
    config = EncodecConfig(
        sampling_rate=rate,
        upsampling_ratios=list(params["strides"]),
        num_filters=params["num_filters"],
        hidden_size=params["hidden_size"],
        codebook_dim=params["hidden_size"],
        codebook_size=size,
        num_lstm_layers=params["lstm_layers"],
        use_causal_conv=False,
        use_conv_shortcut=False,
        target_bandwidths=[number * math.log2(size) * (rate / hop) / 1000.0],
    )
    torch.manual_seed(params["seed"])
    return EncodecModel(config)


@torch.no_grad()
def scale_to_data(model: Any, wave: Tensor) -> None:
    """Layer-sequential unit variance (Mishkin & Matas 2016) for a codec, from one pass over `wave` `[B, T]`.

    Biases become zero, and each convolution's weight-norm gain is set so that its output deviates over time by 1; the
    last convolution of a residual block by 0.5, that of the decoder by half the signal's deviation. Without it the
    latents hardly move over time and nothing is learned.
    """
    convolutions: list[Any] = [m for m in model.modules() if isinstance(m, nn.Conv1d | nn.ConvTranspose1d)]
    targets = dict.fromkeys(convolutions, 1.0)
    for module in model.modules():
        if type(module).__name__ == "EncodecResnetBlock":
            targets[module.block[-1].conv] = 0.5
    targets[model.decoder.layers[-1].conv] = 0.5 * float(wave.std())

    def rescale(module: Any, _: tuple[Tensor, ...], output: Tensor) -> Tensor:
        factor = targets[module] / float(output.var(dim=-1).mean().sqrt().clamp(min=1e-8))
        module.parametrizations.weight.original0.mul_(factor)
        return output * factor

    handles = []
    for module in convolutions:
        nn.init.zeros_(module.bias)
        handles.append(module.register_forward_hook(rescale))
    model.decoder(model.encoder(wave.unsqueeze(1)))
    for handle in handles:
        handle.remove()


def crops(corpora: Sequence[np.ndarray], share: float, seed: tuple[int, ...], size: int, length: int) -> Tensor:
    """`size` random crops `[size, length]`, at random levels, of the first of `corpora` and, for `share` of them, of the last.

    Each corpus is int16 `[N, T]`. The crops depend on `seed` alone.
    """
    random = np.random.default_rng(seed)
    others = np.arange(size) >= size - round(share * size)
    waves = []
    for other in others:
        audio = corpora[-1 if other else 0]
        row, start = random.integers(len(audio)), random.integers(audio.shape[1] - length + 1)
        waves.append(audio[row, start : start + length])
    # Level changes of ±6 dB, and for half of the last corpus of up to 24 dB down: recordings are often softer.
    octaves = random.uniform(-1.0, 1.0, size) - others * random.uniform(0.0, 4.0, size) * (random.random(size) < 0.5)
    gains = 2.0 ** octaves[:, None]
    return torch.from_numpy((np.stack(waves) * (gains / FULL_SCALE)).astype(np.float32))


class Training:
    """State and steps of one training run on `corpora`, each int16 `[N, T]` at `rate` Hz.

    `model` learns, `average` holds the moving average of its weights. A codec given as `start` is widened to the
    parameters' size and gone on from; without one the start is scaled to data.
    """

    def __init__(
        self, params: dict[str, Any], rate: int, corpora: Sequence[np.ndarray], start: EncodecModel | None = None
    ) -> None:
        self.params, self.rate, self.corpora = params, rate, corpora
        self.step = 0
        self.resumed = 0  # the step at which the optimizer's moments last began anew
        self.model = build(params, rate)
        scale_to_data(self.model, self.crops(START, 32))
        if start is not None:
            widen(self.model, start)
        self.average = copy.deepcopy(self.model)
        self.quantiser = EmaQuantiser(self.model.quantizer.layers, params["codebook_decay"], params["codebook_expiry"])
        self.optimizer = torch.optim.Adam(self.model.parameters(), betas=tuple(params["betas"]), fused=True)
        self.steps = params["stable_steps"] + params["decay_steps"]
        self.frozen_from = self.steps - round(params["frozen_fraction"] * params["decay_steps"])
        self.seconds = 0.0

    def crops(self, number: int, size: int, seconds: str = "crop_seconds") -> Tensor:
        """The batch `[size, T]` of this `number`; `seconds` names the parameter with its length."""
        p = self.params
        return crops(self.corpora, p["sampled_share"], (p["seed"], number), size, round(p[seconds] * self.rate))

    def autocast(self) -> AbstractContextManager[None]:
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.params["precision"] == "bf16")

    def learning_rate(self) -> float:
        """Linear warmup from each start of the optimizer, constant, and linear down to `final_lr_ratio` of it."""
        p = self.params
        ramp = linear_warmup(self.step - self.resumed, p["warmup_steps"])
        decayed = max(0.0, (self.step - p["stable_steps"]) / p["decay_steps"])
        return float(p["learning_rate"] * ramp * (1.0 - (1.0 - p["final_lr_ratio"]) * decayed))

    @torch.no_grad()
    def fit_codebooks(self, from_present: bool) -> None:
        """k-means of the codebooks on the encoder's latents of many crops."""
        latents: list[Tensor] = []
        while sum(map(len, latents)) < self.params["kmeans_frames"]:
            with self.autocast():
                wave = self.crops(CODEBOOKS + len(latents), 64)
                latent = self.model.encoder(wave.unsqueeze(1)).float()
            latents.append(latent.transpose(1, 2).flatten(0, 1))
        generator = None if from_present else torch.Generator().manual_seed(self.params["seed"])
        self.quantiser.start(torch.cat(latents), self.params["kmeans_iterations"], generator)

    def freeze_encoder(self) -> None:
        """Go on from the averaged weights with the encoder and its codebooks fixed."""
        self.model.encoder.load_state_dict(self.average.encoder.state_dict())
        self.model.decoder.load_state_dict(self.average.decoder.state_dict())
        self.model.encoder.requires_grad_(False)
        self.fit_codebooks(from_present=True)

    def train_step(self) -> dict[str, float]:
        """One optimizer step; returns the parts of the loss."""
        p, weights = self.params, self.params["weights"]
        if self.step == p["continuous_steps"]:
            self.fit_codebooks(from_present=False)
        if self.step == self.frozen_from:
            self.freeze_encoder()
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        frozen = self.step >= self.frozen_from
        wave = self.crops(self.step, p["batch_size"], "frozen_crop_seconds" if frozen else "crop_seconds")
        with self.autocast(), torch.set_grad_enabled(not frozen):
            latents = self.model.encoder(wave.unsqueeze(1)).float()
        commitment = latents.new_zeros(())
        if self.step >= p["continuous_steps"]:
            generator = torch.Generator().manual_seed(p["seed"] * 2**31 + self.step)
            quantised = self.quantiser(latents, update=not frozen, generator=generator)
            latents, commitment = quantised.latents, quantised.commitment
        with self.autocast():
            output = self.model.decoder(latents).squeeze(1)
        output = output.float()
        parts = {
            "l1": losses.relative_l1(output, wave),
            "mel": losses.mel_loss(output, wave, self.rate, [tuple(scale) for scale in p["mel_scales"]]),
            "distortion": losses.log_distortion(output, wave),
            "commitment": commitment,
        }
        loss = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), p["clip_norm"])
        self.optimizer.step()
        # Codebooks are buffers, and copied.
        update_ema(self.average, self.model, ema_decay(self.step, p["ema_decay"]))
        self.step += 1
        return {name: float(part.detach()) for name, part in parts.items()} | {"loss": float(loss.detach())}

    def run(self) -> Iterator[dict[str, float]]:
        """Train to the end, yielding the loss parts after each step; `seconds` counts the thread's time."""
        self.model.train()
        modeling_encodec.EncodecConv1d._pad1d = staticmethod(pad)
        while self.step < self.steps:
            start = time.process_time()
            parts = self.train_step()
            self.seconds += time.process_time() - start
            yield parts
