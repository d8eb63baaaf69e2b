"""Check every parameter, and record the state of external inputs, so that DVC sees when one changes."""

from pathlib import Path

from musicgen_lite import batch, text, tracking
from musicgen_lite.compute import choose
from musicgen_lite.device import check_weights, choose_device, choose_kv_cache
from musicgen_lite.errors import UserError
from musicgen_lite.initial import Initial, check_fits, locate
from musicgen_lite.io.audio import num_frames
from musicgen_lite.io.files import atomic_dir, write_json
from musicgen_lite.models import diffusers, external
from musicgen_lite.params import DataParams, Params
from musicgen_lite.pretrained import is_path, state
from musicgen_lite.sources import folder, hub, jamendo, musiccaps, tables
from stages.runtime import EXTERNAL, MODEL, SHIPPED, resolve_model_path, root, run


def source(data: DataParams) -> dict[str, str]:
    """The source of clips, and a digest of its folder or table."""
    match data.source:
        case "synthetic":
            return {"source": data.source}
        case "folder":
            return {"source": data.source, "digest": folder.digest(folder.locate(data.folder, root()))}
        case "musiccaps":
            return {"source": data.source, "digest": musiccaps.digest(musiccaps.locate(data.musiccaps, root()))}
        case "jamendo":
            return {"source": data.source, "digest": jamendo.digest(jamendo.locate(data.jamendo, root()))}
        case "hub":
            return {"source": data.source, "digest": hub.digest(hub.locate(data.hub, root()))}


def models(params: Params) -> dict[str, dict[str, str]]:
    """The state of each model that is a directory or a file, and of another system's audio, by the part that uses it."""
    published = {} if params.model.type != "musicgen" or params.trained else {"musicgen": params.model.musicgen.name}
    named = {
        "codec": {"codec": params.codec.name},
        "text": {"text": params.text.name},
        "clap": {"clap": params.score.clap, "judge": params.score.judge},
        "clip_models": {
            "passt": params.score.passt,
            "aesthetics": params.score.aesthetics,
            "vggish": params.score.vggish,
        },
        "model": published,
    }
    found = {
        user: {part: state(resolve_model_path(name)) for part, name in parts.items() if name not in SHIPPED}
        for user, parts in named.items()
    }
    if params.model.type == "external":
        system = params.model.external
        found["model"] = {"external": external.Place.of(system.audio, system.prompts, root()).digest()}
    if params.model.type == "diffusers":
        found["model"] = pipeline(params.model.diffusers.name)
    return found


def pipeline(name: str) -> dict[str, str]:
    """A pipeline of diffusers by the name that finds the same again, and the state of its directory, if it is one."""
    source = diffusers.find(resolve_model_path(name))
    return {
        "name": source.pinned if source.revision else name,
        "state": state(str(source.folder)) if not source.revision else "",
    }


def prompts(params: Params) -> list[dict[str, str]]:
    """The prompts of `sample.prompts_file`, each with its id; none where no file is named."""
    name = params.sample.prompts_file
    return batch.read_named(root() / Path(name).expanduser(), "sample.prompts_file") if name else []


def initial(params: Params) -> dict[str, str]:
    """The digest of the model that the training starts from, if any; UserError where it cannot be trained on."""
    found = locate(params, root(), tracking.model_file)
    if found is None:
        return {}
    if found.path.resolve() == (root() / MODEL).resolve():
        raise UserError(
            f"train.init {found.name!r}: the train stage writes this file itself; copy it out of {MODEL.parent}, or name the "
            "MLflow run that it is of"
        )
    check_initial(params, found)
    return {"sha256": found.sha256}


def check_codec(params: Params) -> None:
    """Raise UserError for a codec in a directory or a file that is not there, damaged, not supported, or has too few codebooks.

    The same for one with fewer codes than `sample.top_k` keeps, which previews and samples would find after a training.
    """
    from musicgen_lite import codec

    name = resolve_model_path(params.codec.name)
    if name not in SHIPPED and is_path(name):
        coder = codec.load(name, num_codebooks=params.codec.num_codebooks, trusted=params.trusted_pickles)
        if params.model.is_language_model and params.sample.top_k > coder.codebook_size:
            raise UserError(
                f"sample.top_k: found {params.sample.top_k}; the codec {params.codec.name} has {coder.codebook_size} codes a "
                "codebook, which are the most; 0 keeps all"
            )


def check_clip_models(params: Params) -> None:
    """Raise UserError for PaSST or audiobox-aesthetics where the package or the weights are not there, or not trusted."""
    passt, aesthetics = (resolve_model_path(name) for name in (params.score.passt, params.score.aesthetics))
    if passt or aesthetics:
        from musicgen_lite.scoring.audio import clip_models

        clip_models.check(passt, aesthetics, params.trusted_pickles)


def check_vggish(params: Params) -> None:
    """Raise UserError for VGGish's weights that a protocol needs and that are not there, damaged, or others."""
    from musicgen_lite.scoring.audio import vggish

    if "audiocraft" in params.score.protocols:
        vggish.load(resolve_model_path(params.score.vggish))


def check_initial(params: Params, found: Initial) -> None:
    """Raise UserError unless the model fits the parameters, the codec and the text encoder, and has what LoRA adds to."""
    from musicgen_lite import codec
    from musicgen_lite.training import lora
    from musicgen_lite.training.corpus import Inputs
    from musicgen_lite.training.setup import model_config

    trusted, (config, names) = params.trusted_pickles, found.describe()
    coder = codec.load(resolve_model_path(params.codec.name), num_codebooks=params.codec.num_codebooks, trusted=trusted)
    encoder = text.load(resolve_model_path(params.text.name), trusted=trusted)
    inputs = Inputs(
        codec=coder.fingerprint,
        codebook_size=coder.codebook_size,
        num_codebooks=coder.num_codebooks,
        frame_rate=float(coder.frame_rate),
        rate=coder.rate,
        text=encoder.fingerprint,
        text_dim=encoder.dim,
        max_text=params.text.max_tokens,
        max_prompt_frames=num_frames(params.data.prompt_seconds, coder.rate, coder.frame_rate),
    )
    wanted = model_config(params, inputs, config)
    check_fits(found, config, wanted, names, params.train.steps)
    if params.train.lora.rank and params.train.steps:
        lora.check(params.train.lora, wanted)


def texts(params: Params) -> dict[str, list[str]]:
    """The texts that the user provides and the text encoder is to read, by kind."""
    match params.data.source:
        case "folder":
            captions = tables.captions(folder.table_path(folder.locate(params.data.folder, root())), folder.REQUIRED)
        case "musiccaps":
            captions = tables.captions(musiccaps.locate(params.data.musiccaps, root()), musiccaps.REQUIRED)
        case "jamendo":
            captions = jamendo.texts(jamendo.locate(params.data.jamendo, root()))
        case _:
            captions = []
    if not params.model.is_language_model:  # its prompts are read by a text encoder of its own
        return {"captions": captions}
    own = [one["prompt"] for one in prompts(params)]
    return {"captions": captions, "sample.fixed_prompts": list(params.sample.fixed_prompts), "sample.prompts_file": own}


def warn_of_unknown_characters(params: Params) -> None:
    """Print how many texts have characters that the text encoder does not know; UserError where it can read none."""
    for what, found in texts(params).items():
        warning = text.coverage_warning(
            found, what, lambda: text.tokenizer(resolve_model_path(params.text.name), trusted=params.trusted_pickles)
        )
        if warning:
            print(warning)


def main(params: Params) -> None:
    device, sample = choose_device(params.compute.device, "compute.device"), params.sample
    choose(params.compute)  # an engine that is not installed, or does not answer, is named before anything long runs
    check_weights(sample.weights, device, "sample.weights")
    choose_kv_cache(sample.kv_cache, sample.weights, device, "sample.kv_cache")
    check_codec(params)
    check_clip_models(params)
    check_vggish(params)
    warn_of_unknown_characters(params)
    if tracking.commit() is None:
        tracking.warn(
            "this repository has no commit yet: MLflow runs cannot say which code made them, and `dvc exp run` ends with `Empty git "
            "repo`; run `git add -A && git commit -m start`"
        )
    found = {
        "source": source(params.data), **models(params), "init": initial(params), "prompts": {"prompts": prompts(params)},
    }  # fmt: skip
    with atomic_dir(EXTERNAL) as part:
        for name, state_of in found.items():
            write_json(part / f"{name}.json", state_of)


if __name__ == "__main__":
    run(main)
