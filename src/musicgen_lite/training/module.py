"""What Lightning trains: loss, optimizer and validation of a language model."""

import contextlib
import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor

from musicgen_lite.errors import UserError
from musicgen_lite.models import LanguageModel
from musicgen_lite.params import TrainParams
from musicgen_lite.training.dataset import Batch
from musicgen_lite.training.keyed_random import stable_hash
from musicgen_lite.training.schedule import learning_rate_factor

WEIGHTS = ("state_dict", "current_model_state")  # in a checkpoint: the averaged ones, and those of the last step


def parameter_groups(model: LanguageModel, weight_decay: float) -> list[dict[str, Any]]:
    """AdamW's groups: matrices are decayed, everything with fewer than two axes (biases, norms) is not.

    Matrices are linear layers, heads, embeddings and learned tables alike, the convention of nanoGPT.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def codebook_nll(model: LanguageModel, batch: Batch) -> Tensor:
    """Negative log-likelihood of a batch in nats, summed over the valid cells of each codebook: `[N_q]`."""
    return model.nll(batch.codes, batch.conditions, batch.mask).sum(dim=(0, 2))


def tempo_nll(model: LanguageModel, batch: Batch) -> Tensor:
    """What a batch teaches the tempo head: NLL of the clips' tempi in nats, summed, and their number; zeros without a head."""
    if model.beat is None:
        return torch.zeros(2, device=batch.codes.device)
    return torch.stack([model.beat.tempo_nll(batch.conditions).sum(), batch.conditions.has_beat.sum().float()])


def validation_sums(model: LanguageModel, batch: Batch) -> Tensor:
    """What one batch adds to a validation: float64 `[2, N_q + 1]`, rows text only and text with prompt.

    The columns are the sum of NLL of each codebook, and the number of frames. Without prompts the second
    row stays 0.
    """
    batches = [dataclasses.replace(batch, conditions=batch.conditions.without_prompt())]
    if batch.conditions.prompt is not None:
        batches.append(batch)
    sums = torch.zeros(2, batch.codes.shape[1] + 1, dtype=torch.float64, device=batch.codes.device)
    for row, case in zip(sums, batches, strict=False):
        row[:-1] = codebook_nll(model, case)
        row[-1] = case.mask.sum()
    return sums


def validation_scores(sums: Tensor, frame_rate: float) -> dict[str, float]:
    """Scores from the `validation_sums` of all batches together.

    `val_loss` (nats per token, given the text), `val_loss_q1` … of each codebook, `bits_per_second` of audio, and
    `val_loss_prompt`, given the audio prompt as well, for models that read one.
    """
    nll, frames = sums[:, :-1].cpu(), sums[:, -1].cpu()
    num_codebooks = nll.shape[1]
    loss = float(nll[0].sum() / (frames[0] * num_codebooks))
    scores = {"val_loss": loss, "bits_per_second": loss / math.log(2) * num_codebooks * frame_rate}
    scores |= {f"val_loss_q{q}": float(value / frames[0]) for q, value in enumerate(nll[0], start=1)}
    if frames[1]:
        scores["val_loss_prompt"] = float(nll[1].sum() / (frames[1] * num_codebooks))
    return scores


def evaluate(
    model: LanguageModel,
    batches: Iterable[Batch],
    frame_rate: float,
    device: torch.device,
    dtype: torch.dtype | None = None,
) -> dict[str, float]:
    """The validation scores of a model, outside of a training; `dtype` turns autocast on."""
    was_training = model.training
    model.to(device).eval()
    autocast = torch.autocast(device.type, dtype=dtype) if dtype else contextlib.nullcontext()
    with torch.no_grad(), autocast:
        total = sum(validation_sums(model, batch.to(device)) for batch in batches)
    model.train(was_training)
    assert isinstance(total, Tensor), "a split is never empty"
    return validation_scores(total, frame_rate)


class TrainingModule(L.LightningModule):
    """A language model in training.

    The loss is the sum of NLL over the number of valid cells of the whole optimizer step, over all micro-batches and
    devices: clips weigh by their cells, however a step is divided. A clip's tempo counts as one more cell in what is learned,
    and in no NLL. `identity` is stored in every checkpoint and tells one
    training from another.
    """

    def __init__(
        self, model: LanguageModel, params: TrainParams, seed: int, frame_rate: float, identity: str = ""
    ) -> None:
        super().__init__()
        self.model = model
        self.params = params
        self.seed = seed
        self.frame_rate = frame_rate
        self.identity = identity
        self.grad_norm = 0.0
        self.validation: dict[str, float] = {}
        self._sums: Tensor | None = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["identity"] = self.identity
        checkpoint["accumulation"] = self.trainer.accumulate_grad_batches
        frozen = {name for name, parameter in self.named_parameters() if not parameter.requires_grad}
        for weights in WEIGHTS:  # frozen ones are those that the training started from, which may be gigabytes
            held = checkpoint.get(weights, {})
            checkpoint[weights] = {name: value for name, value in held.items() if name not in frozen}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the frozen weights back, and count micro-batches as this training divides its steps.

        It may have other processes than the one before.
        """
        own = self.state_dict()
        for weights in WEIGHTS:
            checkpoint[weights] = own | checkpoint[weights]
        before, now = checkpoint["accumulation"], self.trainer.accumulate_grad_batches
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for counts in (progress["total"], progress["current"]):
            steps = counts["ready"] // before
            counts |= {name: count + steps * (now - before) for name, count in counts.items()}

    def configure_optimizers(self) -> Any:
        params = self.params
        optimizer = torch.optim.AdamW(
            parameter_groups(self.model, params.weight_decay),
            lr=params.learning_rate,
            betas=params.betas,
            # A fused optimizer unscales gradients itself, after they would have been clipped.
            fused=self._scaler() is None,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: learning_rate_factor(step, params.steps, params.warmup_fraction, params.min_lr_ratio),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _scaler(self) -> Any:
        return getattr(self.trainer.precision_plugin, "scaler", None)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Dropout depends on step, micro-batch and rank alone: neither resuming nor a preview changes it.
        position = (self.global_step, batch_idx % self.trainer.accumulate_grad_batches, self.global_rank)
        seed = stable_hash(self.seed, *position, "dropout")
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        nll, tempo = codebook_nll(self.model, batch), tempo_nll(self.model, batch)
        # Lightning divides the loss by the number of micro-batches, and averages gradients over the devices.
        parts = self.trainer.accumulate_grad_batches * self.trainer.world_size
        self._nll = nll.detach().double()
        loss = (nll.sum() + tempo[0]) * (parts / batch.step_cells)
        return {"loss": loss, "nll": self._nll, "tempo": tempo.detach().double()}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.params.clip_norm)
        self.grad_norm = float(norm)
        # With a gradient scaler gradients may overflow, and it skips the step; the loss must stay finite.
        watched = self.grad_norm if self._scaler() is None else float(self._nll.sum())
        if not math.isfinite(watched):
            raise not_finite(self.global_step, self.params.learning_rate)

    def on_validation_epoch_start(self) -> None:
        self._sums = None

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        sums = validation_sums(self.model, batch)
        self._sums = sums if self._sums is None else self._sums + sums

    def on_validation_epoch_end(self) -> None:
        assert self._sums is not None, "a split is never empty"
        sums = self.trainer.strategy.reduce(self._sums, reduce_op="sum")
        self.validation = validation_scores(sums, self.frame_rate)
        if not math.isfinite(self.validation["val_loss"]):
            raise not_finite(self.global_step, self.params.learning_rate)
        self.log("val_loss", self.validation["val_loss"], logger=False, batch_size=1)


def not_finite(step: int, learning_rate: float) -> UserError:
    """The error of a training that has diverged."""
    return UserError(
        f"training step {step + 1}: loss and gradients are no finite numbers any more; lower train.learning_rate (now "
        f"{learning_rate:g}) or train.clip_norm, or set train.precision to 32. The checkpoints of earlier steps are kept"
    )
