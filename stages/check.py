"""Check every parameter, and note the state of what lies outside of the repository, so that a change in it is seen."""

from musicgen_lite.params import DataParams, Params
from musicgen_lite.pretrained import state
from musicgen_lite.sources import folder, musiccaps
from musicgen_lite.store import atomic_dir, write_json
from stages.runtime import EXTERNAL, SHIPPED, resolve_model_path, root, run


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


def main(params: Params) -> None:
    found = {"source": source(params.data), **models(params)}
    with atomic_dir(EXTERNAL) as part:
        for name, state_of in found.items():
            write_json(part / f"{name}.json", state_of)


if __name__ == "__main__":
    run(main)
