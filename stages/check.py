"""Check every parameter, and note the state of what lies outside of the repository, so that a change in it is seen."""

from musicgen_lite import text, tracking
from musicgen_lite.io.files import atomic_dir, write_json
from musicgen_lite.params import DataParams, Params
from musicgen_lite.pretrained import state
from musicgen_lite.sources import folder, musiccaps, tables
from stages.runtime import EXTERNAL, SHIPPED, resolve_model_path, root, run, set_up_torch


def source(data: DataParams) -> dict[str, str]:
    """Where clips come from, and a digest of the folder or table."""
    match data.source:
        case "synthetic":
            return {"source": data.source}
        case "folder":
            return {"source": data.source, "digest": folder.digest(folder.locate(data.folder, root()))}
        case "musiccaps":
            return {"source": data.source, "digest": musiccaps.digest(musiccaps.locate(data.musiccaps, root()))}


def models(params: Params) -> dict[str, dict[str, str]]:
    """The state of each model that is a directory or a file, under what needs it."""
    peer = {"musicgen": params.model.musicgen.name} if params.model.type == "musicgen" else {}
    named = {
        "codec": {"codec": params.codec.name},
        "text": {"text": params.text.name},
        "clap": {"clap": params.score.clap, "judge": params.score.judge},
        "model": peer,
    }
    return {
        use: {part: state(resolve_model_path(name)) for part, name in parts.items() if name not in SHIPPED}
        for use, parts in named.items()
    }


def texts(params: Params) -> dict[str, list[str]]:
    """The texts that come from outside of the project, by what they are."""
    match params.data.source:
        case "folder":
            captions = tables.captions(folder.table_path(folder.locate(params.data.folder, root())), folder.REQUIRED)
        case "musiccaps":
            captions = tables.captions(musiccaps.locate(params.data.musiccaps, root()), musiccaps.REQUIRED)
        case _:
            captions = []
    return {"captions": captions, "sample.fixed_prompts": list(params.sample.fixed_prompts)}


def say_what_cannot_be_read(params: Params) -> None:
    """Print how many of the texts hold what the encoder does not know; UserError where it can read none."""
    for what, found in texts(params).items():
        warning = text.coverage_warning(
            found, what, lambda: text.tokenizer(resolve_model_path(params.text.name), trusted=params.trusted_pickles)
        )
        if warning:
            print(warning)


def main(params: Params) -> None:
    if params.compute.device == "cuda":
        set_up_torch(params.compute)  # which says where there is no GPU
    say_what_cannot_be_read(params)
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
