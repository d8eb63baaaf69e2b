"""Check every parameter, and record the state of external inputs, so that DVC sees when one changes."""

from musicgen_lite import text, tracking
from musicgen_lite.io.files import atomic_dir, write_json
from musicgen_lite.params import DataParams, Params
from musicgen_lite.pretrained import state
from musicgen_lite.sources import folder, musiccaps, tables
from stages.runtime import EXTERNAL, SHIPPED, resolve_model_path, root, run, set_up_torch


def source(data: DataParams) -> dict[str, str]:
    """The source of clips, and a digest of its folder or table."""
    match data.source:
        case "synthetic":
            return {"source": data.source}
        case "folder":
            return {"source": data.source, "digest": folder.digest(folder.locate(data.folder, root()))}
        case "musiccaps":
            return {"source": data.source, "digest": musiccaps.digest(musiccaps.locate(data.musiccaps, root()))}


def models(params: Params) -> dict[str, dict[str, str]]:
    """The state of each model that is a directory or a file, by the part of the pipeline that uses it."""
    published = {"musicgen": params.model.musicgen.name} if params.model.type == "musicgen" else {}
    named = {
        "codec": {"codec": params.codec.name},
        "text": {"text": params.text.name},
        "clap": {"clap": params.score.clap, "judge": params.score.judge},
        "model": published,
    }
    return {
        user: {part: state(resolve_model_path(name)) for part, name in parts.items() if name not in SHIPPED}
        for user, parts in named.items()
    }


def texts(params: Params) -> dict[str, list[str]]:
    """The texts that the user provides, by kind."""
    match params.data.source:
        case "folder":
            captions = tables.captions(folder.table_path(folder.locate(params.data.folder, root())), folder.REQUIRED)
        case "musiccaps":
            captions = tables.captions(musiccaps.locate(params.data.musiccaps, root()), musiccaps.REQUIRED)
        case _:
            captions = []
    return {"captions": captions, "sample.fixed_prompts": list(params.sample.fixed_prompts)}


def warn_of_unknown_characters(params: Params) -> None:
    """Print how many texts have characters that the text encoder does not know; UserError where it can read none."""
    for what, found in texts(params).items():
        warning = text.coverage_warning(
            found, what, lambda: text.tokenizer(resolve_model_path(params.text.name), trusted=params.trusted_pickles)
        )
        if warning:
            print(warning)


def main(params: Params) -> None:
    if params.compute.device == "cuda":
        set_up_torch(params.compute)  # raises where there is no GPU
    warn_of_unknown_characters(params)
    if tracking.commit() is None:
        tracking.warn(
            "this repository has no commit yet: MLflow runs cannot say which code made them, and `dvc exp run` ends with `Empty git "
            "repo`; run `git add -A && git commit -m start`"
        )
    found = {"source": source(params.data), **models(params)}
    with atomic_dir(EXTERNAL) as part:
        for name, state_of in found.items():
            write_json(part / f"{name}.json", state_of)


if __name__ == "__main__":
    run(main)
