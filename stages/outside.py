"""Where the audio and the table lie that come from outside of the repository."""

import os
from pathlib import Path

from musicgen_lite.errors import UserError
from musicgen_lite.params import FolderParams, MusicCapsParams
from musicgen_lite.sources import musiccaps
from stages.common import root

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
