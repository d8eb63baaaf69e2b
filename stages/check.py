"""Check every parameter, and note the state of an outside folder or table so that a change in it is seen."""

import os
from pathlib import Path

from musicgen_lite.errors import UserError
from musicgen_lite.params import FolderParams, MusicCapsParams, Params
from musicgen_lite.sources import folder, musiccaps
from musicgen_lite.store import write_json
from stages.common import SOURCE, root, run

VARIABLE = "MUSICGEN_LITE_FOLDER"


def folder_path(params: FolderParams) -> Path:
    """The outside folder, from the parameter or the environment; relative paths start at the repository."""
    name = params.path or os.environ.get(VARIABLE, "")
    if not name:
        raise UserError(f"data.folder.path: empty; give a folder with metadata.csv there or in {VARIABLE}")
    return root() / Path(name).expanduser()


def table_path(params: MusicCapsParams) -> Path:
    """The MusicCaps table: the named file, or the hub's."""
    if params.csv:
        return root() / Path(params.csv).expanduser()
    return musiccaps.hub_table(params.dataset, params.revision)


def main(params: Params) -> None:
    state: dict[str, str] = {"source": params.data.source}
    if params.data.source == "folder":
        state["digest"] = folder.digest(folder_path(params.data.folder))
    elif params.data.source == "musiccaps":
        state["digest"] = musiccaps.digest(table_path(params.data.musiccaps))
    write_json(SOURCE, state)


if __name__ == "__main__":
    run(main)
