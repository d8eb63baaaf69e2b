"""One training from stores to a model file. It can be killed at any moment and called again."""

import contextlib
import logging
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger

from musicgen_lite import models
from musicgen_lite.device import choose_device
from musicgen_lite.errors import UserError
from musicgen_lite.io.audio import num_frames
from musicgen_lite.io.store import fingerprint, write_json
from musicgen_lite.models import LanguageModel, ModelConfig
from musicgen_lite.params import BParams, Params, TrainParams
from musicgen_lite.training import checkpoints
from musicgen_lite.training.batch_size import resolve
from musicgen_lite.training.callbacks import Averaging, Curves, Patience, Preview, Previews, Progress
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.datamodule import TokenData
from musicgen_lite.training.dataset import TokenDataset
from musicgen_lite.training.module import TrainingModule, evaluate
from musicgen_lite.training.sampler import ClipLoader

CHECKPOINT_SECONDS = 30.0
AUTOCAST = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16, "32": None}


@dataclass(frozen=True)
class TrainingResult:
    """What came of a training.

    `rows`: the curves, one row per validation; `timings`: one row per validation, beside them, never to be compared;
    `best_step`, `val_loss`: of the exported weights; `raw_val_loss`: of the weights at the last step, not averaged;
    `ema_val_loss`: of their average at the last step; `parameters`: how many the model has; `published`: the checkpoint
    that the weights were taken from as they are, "" where they were trained here.
    """

    rows: list[dict[str, float]]
    timings: list[dict[str, float]]
    best_step: int
    val_loss: float
    ema_val_loss: float
    raw_val_loss: float
    parameters: int
    published: str = ""


def model_config(params: Params, corpus: Corpus) -> ModelConfig:
    """The model that the parameters describe, for the tokens and texts of a corpus."""
    decoder = params.model.decoder
    return ModelConfig(
        type=params.model.type,
        pattern=params.model.pattern,
        codebook_size=corpus.codebook_size,
        num_codebooks=corpus.num_codebooks,
        text_dim=corpus.text_dim,
        d_model=decoder.d_model,
        layers=decoder.layers,
        heads=decoder.heads,
        dropout=decoder.dropout,
        positions=decoder.positions,
        max_frames=crop_frames(params, corpus),
        max_text=corpus.max_text,
        max_prompt_frames=corpus.prompt_frames,
        codec=corpus.codec,
        text=corpus.encoder,
        frame_rate=corpus.frame_rate,
        rate=corpus.rate,
    )


def crop_frames(params: Params, corpus: Corpus) -> int:
    """The longest target that a model is trained and validated on."""
    return num_frames(params.train.crop_seconds, corpus.rate, corpus.frame_rate)


def boundaries(steps: int, validations: int) -> list[int]:
    """The optimizer steps after which a run is validated: evenly spaced, the last one at its end."""
    count = min(steps, validations)
    return [round(steps * (number + 1) / count) for number in range(count)]


def _multiplies_bf16() -> bool:
    """Whether this CPU has instructions for bfloat16; without them it is slower than float32."""
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def hardware(params: Params) -> tuple[str, str]:
    """Accelerator and precision in Lightning's words; UserError where the machine lacks them."""
    accelerator = choose_device(params.compute.device, "compute.device")
    precision: str = params.train.precision
    if precision == "auto":
        precision = "16-mixed" if accelerator == "cuda" else "bf16-mixed" if _multiplies_bf16() else "32"
    if precision == "16-mixed" and accelerator == "cpu":
        raise UserError("train.precision: found 16-mixed, which needs a GPU; on a CPU use auto, 32 or bf16-mixed")
    return accelerator, precision


def _device(accelerator: str) -> str:
    """The device in words: `cpu`, or `cuda` with the GPU's name."""
    return f"cuda ({torch.cuda.get_device_name()})" if accelerator == "cuda" else accelerator


def _accumulation(train: TrainParams, batch_size: int) -> int:
    together = batch_size * train.devices * train.num_nodes
    if train.effective_batch_size % together:
        raise UserError(
            f"train.effective_batch_size ({train.effective_batch_size}) must be a multiple of batch_size x devices x "
            f"num_nodes ({batch_size} x {train.devices} x {train.num_nodes} = {together})"
        )
    return train.effective_batch_size // together


def _build(params: Params, config: ModelConfig) -> LanguageModel:
    torch.manual_seed(params.seed)
    return models.build(config)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's tips and hints off the console; its errors still come through."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextlib.contextmanager
def _interruptible(trainer: L.Trainer) -> Iterator[None]:
    """Let Ctrl-C come out as KeyboardInterrupt: Lightning exits with code 1, and leaves later ones ignored."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


def _load(model: LanguageModel, path: str | Path, key: str) -> int:
    """Put the weights of a checkpoint into the model: `state_dict` the averaged ones, `current_model_state` the raw.

    Returns the step of the checkpoint.
    """
    checkpoint = checkpoints.read(Path(path))
    if checkpoint is None:
        raise UserError(f"{path}: this checkpoint is damaged or gone; delete its folder and train again")
    prefix = "model."
    model.load_state_dict({n.removeprefix(prefix): v for n, v in checkpoint[key].items() if n.startswith(prefix)})
    return int(checkpoint["global_step"])


def fit(
    params: Params,
    tokens_dir: str | Path,
    text_dir: str | Path,
    checkpoint_dir: str | Path,
    model_path: str | Path,
    curves_path: str | Path,
    timings_path: str | Path,
    preview: Preview | None = None,
    loggers: Sequence[Logger] = (),
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    stop: Callable[[], bool] = lambda: False,
) -> TrainingResult | None:
    """Train the model that `params` describe and write the best averaged weights, the curves and the timings.

    A training that was killed goes on from its last whole checkpoint in `checkpoint_dir`, and ends as if it had never
    been stopped. `preview` is called with the averaged model and the step. Once `stop()` is true, which is asked after each
    step, the training leaves a checkpoint and raises KeyboardInterrupt. With several processes all call this, and only
    the first is asked, writes and returns a result. UserError for stores that do not fit together, for parameters that this
    machine cannot serve, and for a loss that is no number.
    """
    corpus = Corpus(tokens_dir, text_dir)
    clips = corpus.clips("train"), corpus.clips("validation")
    accelerator, precision = hardware(params)
    directory = Path(checkpoint_dir).resolve()
    train, decoder = params.train, params.model.decoder
    config = model_config(params, corpus)
    identity = fingerprint(None, {**corpus.facts(), **_recipe(params), "config": config.to_dict()})
    dropout_audio = decoder.dropout_audio if isinstance(decoder, BParams) else None
    dataset = TokenDataset(corpus, crop_frames(params, corpus), params.seed, params.model.dropout_text, dropout_audio)
    model = _build(params, config)
    batch_size = resolve(train, model, dataset, accelerator, AUTOCAST[precision])
    accumulation = _accumulation(train, batch_size)
    resume = checkpoints.resumable(directory, identity)

    stops = boundaries(train.steps, train.validations)
    module = TrainingModule(model, train, params.seed, corpus.frame_rate, identity)
    averaging = Averaging(train.ema_decay)
    curves = Curves(len(clips[0]), train.effective_batch_size)
    best = checkpoints.best_checkpoints(directory, train.keep_best)
    callbacks: list[L.Callback] = [averaging, curves, Progress(curves, train.steps)]
    if preview is not None and train.preview_every:
        callbacks.append(Previews(preview, train.preview_every, averaging, curves))
    if train.patience:
        callbacks.append(Patience(train.patience))
    callbacks += [best, checkpoints.SaveLast(directory, checkpoint_seconds, stop)]
    with _quiet():
        trainer = L.Trainer(
            accelerator=accelerator,
            devices=train.devices,
            num_nodes=train.num_nodes,
            strategy=train.strategy,
            precision=precision,
            # An epoch of Lightning's is the stretch from one validation to the next.
            max_epochs=len(stops),
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            accumulate_grad_batches=accumulation,
            callbacks=callbacks,
            logger=list(loggers) or False,
            plugins=[checkpoints.AtomicCheckpointIO()],
            default_root_dir=directory,
            use_distributed_sampler=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        data = TokenData(dataset, dataset, clips, train, batch_size, stops)
        if trainer.is_global_zero:
            print(f"train: on {_device(accelerator)}, precision {precision}, {batch_size} clips a pass", flush=True)
        with _interruptible(trainer):
            trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    if not trainer.is_global_zero:
        return None
    checkpoints.sweep(directory, best)
    validation = ClipLoader(dataset, clips[1], batch_size)
    device, dtype = module.device, AUTOCAST[precision]
    _load(module.model, directory / checkpoints.LAST, "current_model_state")
    raw = evaluate(module.model, validation, corpus.frame_rate, device, dtype)["val_loss"]
    result = _export(params, module.model, corpus, best, curves, raw, Path(model_path))
    write_json(curves_path, result.rows)
    write_json(timings_path, result.timings)
    return result


def _recipe(params: Params) -> dict[str, Any]:
    """The parameters that make a training what it is."""
    model = params.model
    return {
        "seed": params.seed,
        "model": {"type": model.type, "pattern": model.pattern, "dropout_text": model.dropout_text},
        "decoder": model.decoder.model_dump(mode="json"),
        "train": params.train.model_dump(mode="json"),
    }


def _export(
    params: Params, model: LanguageModel, corpus: Corpus, best: ModelCheckpoint, curves: Curves, raw: float, path: Path
) -> TrainingResult:
    """Write the averaged weights of the best validation, and say what they are."""
    step = _load(model, best.best_model_path, "state_dict")
    val_loss = next(row["val_loss"] for row in curves.rows if row["step"] == step)
    extra = {
        "step": step,
        "val_loss": val_loss,
        "weights": f"exponential moving average, decay {params.train.ema_decay:g}",
        "recipe": _recipe(params),
        "names": corpus.names,
        "corpus": corpus.facts(),
    }
    models.save(path, model.cpu(), extra)
    return TrainingResult(
        rows=curves.rows,
        timings=curves.timings,
        best_step=step,
        val_loss=val_loss,
        ema_val_loss=curves.rows[-1]["val_loss"],
        raw_val_loss=raw,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )
