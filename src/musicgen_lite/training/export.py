"""The outcome of a training: a model file with the best averaged weights, and its scores."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicgen_lite import models
from musicgen_lite.errors import UserError
from musicgen_lite.models import LanguageModel
from musicgen_lite.training import checkpoints, lora
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.setup import TrainingSetup, recipe


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of a training.

    `rows`: the curves, one row per validation; `timings`: one row per validation, not reproducible; `best_step`,
    `val_loss`: of the exported weights; `raw_val_loss`: of the weights at the last step, not averaged; `ema_val_loss`: of
    their average at the last step; `parameters`: of the model; `published`: the checkpoint that the weights were taken
    from as they are, "" where they were trained here; `initial`: the model that a training started from, "" for random
    weights. Losses are in nats per token.
    """

    rows: list[dict[str, float]]
    timings: list[dict[str, float]]
    best_step: int
    val_loss: float
    ema_val_loss: float
    raw_val_loss: float
    parameters: int
    published: str = ""
    initial: str = ""


def load_weights(model: LanguageModel, path: str | Path, key: str) -> int:
    """Put the weights of a checkpoint into the model: `state_dict` the averaged ones, `current_model_state` the raw.

    Returns the step of the checkpoint. UserError for a file that is damaged or missing.
    """
    checkpoint = checkpoints.read(Path(path))
    if checkpoint is None:
        raise UserError(f"{path}: this checkpoint is damaged or missing; delete its folder and train again")
    prefix = "model."
    held = {n.removeprefix(prefix): v for n, v in checkpoint[key].items() if n.startswith(prefix)}
    model.load_state_dict(model.state_dict() | held)  # frozen weights are in no checkpoint
    return int(checkpoint["global_step"])


def export(
    setup: TrainingSetup,
    best_checkpoint: str | Path,
    rows: list[dict[str, float]],
    timings: list[dict[str, float]],
    raw_val_loss: float,
    path: Path,
) -> TrainingResult:
    """Write the averaged weights of the best validation into a model file."""
    corpus, step = setup.corpus, load_weights(setup.model, best_checkpoint, "state_dict")
    model = lora.merged(setup.model)
    val_loss = next(row["val_loss"] for row in rows if row["step"] == step)
    extra = {
        "step": step,
        "val_loss": val_loss,
        "weights": f"exponential moving average, decay {setup.params.train.ema_decay:g}",
        "recipe": recipe(setup.params),
        "names": corpus.names,
        "corpus": corpus.facts(),
        **({"initial": setup.initial} if setup.initial else {}),
    }
    models.save(path, model.cpu(), extra)
    return TrainingResult(
        rows=rows,
        timings=timings,
        best_step=step,
        val_loss=val_loss,
        ema_val_loss=rows[-1]["val_loss"],
        raw_val_loss=raw_val_loss,
        parameters=num_parameters(model),
        initial=setup.initial,
    )


def export_untrained(
    model: LanguageModel, corpus: Corpus, validation: dict[str, float], path: Path, extra: dict[str, Any], **source: str
) -> TrainingResult:
    """Write a model as it is into a model file: its validation scores are the only point of the curve.

    extra: what the file says besides of the weights; source: `published` or `initial`, as in the result.
    """
    loss = validation["val_loss"]
    facts = {"step": 0, "val_loss": loss, "names": corpus.names, "corpus": corpus.facts(), **extra}
    models.save(path, model.cpu(), facts)
    return TrainingResult(
        rows=[{"step": 0, "epoch": 0.0, **validation}],
        timings=[],
        best_step=0,
        val_loss=loss,
        ema_val_loss=loss,
        raw_val_loss=loss,
        parameters=num_parameters(model),
        **source,
    )


def num_parameters(model: LanguageModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
