"""What a training is made of: model, data and hardware as the parameters describe them, checked before any step."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from musicgen_lite import models
from musicgen_lite.device import choose_device
from musicgen_lite.errors import UserError
from musicgen_lite.initial import Initial, check_fits
from musicgen_lite.io.audio import num_frames
from musicgen_lite.io.hashing import short_digest
from musicgen_lite.models import LanguageModel, ModelConfig
from musicgen_lite.params import DIVISION, BParams, Params, TrainParams
from musicgen_lite.training import lora
from musicgen_lite.training.batch_size import resolve
from musicgen_lite.training.corpus import Corpus, Inputs
from musicgen_lite.training.dataset import TokenDataset

SIZES = ("d_model", "layers", "heads", "dropout", "positions", "pointer_dim", "beat")  # of a config, by the parameters
AUTOCAST = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16, "32": None}


@dataclass(frozen=True)
class Hardware:
    """Accelerator (cpu or cuda) and precision (16-mixed, bf16-mixed or 32) in Lightning's words."""

    accelerator: str
    precision: str

    @property
    def autocast(self) -> torch.dtype | None:
        """The type that torch's autocast computes in, None in full precision."""
        return AUTOCAST[self.precision]

    def __str__(self) -> str:
        gpu = f" ({torch.cuda.get_device_name()})" if self.accelerator == "cuda" else ""
        return f"{self.accelerator}{gpu}, precision {self.precision}"


@dataclass(frozen=True)
class TrainingSetup:
    """Model and data of one training.

    `train_clips`, `validation_clips`: ids; `batch_size`: clips of a micro-batch; `accumulation`: micro-batches of an
    optimizer step on one device; `validation_steps`: the optimizer steps after which the model is validated, the last one
    at the end; `identity`: a fingerprint of parameters and data, which every checkpoint holds: a training resumes none of
    another, also where the caller names the folder of the checkpoints, but one of other processes; `initial`: the model that it starts from, "" for
    random weights.
    """

    params: Params
    hardware: Hardware
    corpus: Corpus
    dataset: TokenDataset
    train_clips: list[str]
    validation_clips: list[str]
    model: LanguageModel
    batch_size: int
    accumulation: int
    validation_steps: list[int]
    identity: str
    initial: str = ""


def set_up(params: Params, corpus: Corpus, initial: Initial | None = None) -> TrainingSetup:
    """Build model and data, with the weights of `initial` if given.

    UserError for parameters that the corpus or this machine cannot serve, and for an initial model of another kind.
    """
    train, decoder = params.train, params.model.decoder
    train_clips, validation_clips = corpus.clips("train"), corpus.clips("validation")
    hardware = choose_hardware(params)
    inputs = corpus.inputs
    dropout_audio = decoder.dropout_audio if isinstance(decoder, BParams) else None
    dropout_beat = params.model.dropout_beat if decoder and decoder.beat else None
    if dropout_beat is not None:
        _check_beats(params.model.type, corpus, train_clips)
    frames, dropout_text = crop_frames(params, inputs), params.model.dropout_text
    dataset = TokenDataset(corpus, frames, params.seed, dropout_text, dropout_audio, dropout_beat)
    torch.manual_seed(params.seed)
    model = starting_model(params, inputs, initial)
    model.gradient_checkpointing = train.gradient_checkpointing
    if train.lora.rank and train.steps:
        lora.check(train.lora, model.config)
        lora.adapt(model, train.lora)
    if train.compile:
        for block in model.blocks:  # one compilation serves all of them, and no name in the state changes
            block.compile()
    batch_size = resolve(train, model, dataset, hardware.accelerator, hardware.autocast)
    return TrainingSetup(
        params=params,
        hardware=hardware,
        corpus=corpus,
        dataset=dataset,
        train_clips=train_clips,
        validation_clips=validation_clips,
        model=model,
        batch_size=batch_size,
        accumulation=_accumulation(train, batch_size),
        validation_steps=validation_steps(train.steps, train.validations),
        identity=_identity(params, corpus, initial, model),
        initial=initial.label if initial else "",
    )


def _identity(params: Params, corpus: Corpus, initial: Initial | None, model: LanguageModel) -> str:
    """The fingerprint of a training, however its steps are divided."""
    made = recipe(params)
    made["train"] = {name: value for name, value in made["train"].items() if name not in DIVISION}
    return short_digest({**corpus.facts(), **made, **_start(initial), "config": model.config.to_dict()})


def _check_beats(type: str, corpus: Corpus, clips: list[str]) -> None:
    """Raise UserError unless the beat of some clip is known."""
    if not corpus.beats.known[corpus.targets.rows(clips)].any():
        raise UserError(
            f"model.{type}.beat: found true, but of none of the {len(clips)} training clips the beat is known (columns bpm and "
            f"beat_s of {corpus.targets.directory}); set it to false, or use music with a beat"
        )


def starting_model(params: Params, inputs: Inputs, initial: Initial | None) -> LanguageModel:
    """A model with new weights, or with those of `initial`, whose longer tables of positions stay whole."""
    if initial is None:
        return models.build(model_config(params, inputs))
    found, extra = initial.load()
    config = model_config(params, inputs, found.config)
    check_fits(initial, found.config, config, extra.get("names", {}), params.train.steps)
    longest = {name: getattr(found.config, name) for name in ("max_text", "max_prompt_frames")}
    model = models.build(replace(config, **longest))
    model.load_state_dict(found.state_dict())
    return model


def model_config(params: Params, inputs: Inputs, found: ModelConfig | None = None) -> ModelConfig:
    """The model that the parameters describe, for these codes and texts.

    A MusicGen has the sizes of the model that it starts from, `found`, and goes on knowing clips as long as that one does.
    ValueError where there is none.
    """
    decoder, frames = params.model.decoder, crop_frames(params, inputs)
    if decoder is not None:
        sizes = {name: getattr(decoder, name) for name in SIZES}
    elif found is not None:
        sizes = {name: getattr(found, name) for name in ("d_model", "layers", "heads")}
        frames = max(frames, found.max_frames)
    else:
        raise ValueError(f"model.type {params.model.type} has no sizes of its own: they are those of train.init")
    return ModelConfig(type=params.model.type, pattern=params.model.pattern, max_frames=frames, **sizes, **vars(inputs))


def crop_frames(params: Params, inputs: Inputs) -> int:
    """The longest target in frames that a model is trained and validated on."""
    return num_frames(params.train.crop_seconds, inputs.rate, inputs.frame_rate)


def choose_hardware(params: Params) -> Hardware:
    """Where and in which precision to train; UserError where the machine lacks what the parameters ask for."""
    accelerator = choose_device(params.compute.device, "compute.device")
    precision: str = params.train.precision
    if precision == "auto":
        precision = "16-mixed" if accelerator == "cuda" else "bf16-mixed" if _has_bf16_instructions() else "32"
    if precision == "16-mixed" and accelerator == "cpu":
        raise UserError("train.precision: found '16-mixed', which needs a GPU; on a CPU use auto, 32 or bf16-mixed")
    return Hardware(accelerator, precision)


def _has_bf16_instructions() -> bool:
    """Whether this CPU has instructions for bfloat16; without them it is slower than float32."""
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _accumulation(train: TrainParams, batch_size: int) -> int:
    """Micro-batches of an optimizer step on each device; UserError where they do not add up to the effective batch."""
    parallel = batch_size * train.devices * train.num_nodes
    if train.effective_batch_size % parallel:
        raise UserError(
            f"train.effective_batch_size ({train.effective_batch_size}) must be a multiple of batch_size x devices x "
            f"num_nodes ({batch_size} x {train.devices} x {train.num_nodes} = {parallel})"
        )
    return train.effective_batch_size // parallel


def validation_steps(steps: int, validations: int) -> list[int]:
    """The optimizer steps after which a run is validated: evenly spaced, the last one at its end."""
    count = min(steps, validations)
    return [round(steps * (number + 1) / count) for number in range(count)]


def _start(initial: Initial | None) -> dict[str, str]:
    """The content that a training starts from."""
    return {"initial": initial.sha256} if initial else {}


def recipe(params: Params) -> dict[str, Any]:
    """The parameters that make a training what it is."""
    model, decoder = params.model, params.model.decoder
    shared = ("type", "pattern", "dropout_text", *(("dropout_beat",) if decoder and decoder.beat else ()))
    return {
        "seed": params.seed,
        "model": {name: getattr(model, name) for name in shared},
        "decoder": decoder.model_dump(mode="json") if decoder else {},
        "train": params.train.model_dump(mode="json"),
    }
