"""Every result that the run cache holds, copied to or from a DVC remote.

`dvc push --run-cache` copies all entries of the run cache, but only the outputs that dvc.lock names and DVC caches: the
outputs of other experiments, and metrics, which git keeps, stay behind. In a clone an entry without its outputs
restores nothing, and its stage runs again. `transfer` copies the outputs of every entry as well.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from musicgen_lite.errors import UserError, first_line, require

Remote = Annotated[str, typer.Option("--remote", "-r", help="A remote's name; without it the default one.")]


def transfer(direction: Literal["push", "pull"], remote: str) -> None:
    """Copy the results and print how many. Raises UserError where DVC, the repository or the remote is missing."""
    purpose = f"musicgen-lite {direction}"
    dvc = require("dvc.repo", extra="pipeline", purpose=purpose)
    exceptions = require("dvc.exceptions", extra="pipeline", purpose=purpose)
    try:
        with dvc.Repo() as repo:
            count = _copy(repo, direction, remote or None)
    except exceptions.DvcException as error:
        reason = first_line(error).removesuffix(". Create a default remote with")
        raise UserError(
            f"musicgen-lite {direction}: {reason}; nothing here was changed. `dvc remote list` names the remotes, "
            "`dvc remote add -d NAME FOLDER-OR-ADDRESS` adds one"
        ) from error
    print(f"{direction}: {count} results of stages, with all their outputs")


def _copy(repo: Any, direction: str, remote: str | None) -> int:
    """Copy what dvc.lock names, the run cache's entries, and the outputs of each; gives the number of entries."""
    if direction == "push":
        repo.push(run_cache=True, remote=remote)
    else:
        repo.pull(run_cache=True, remote=remote, allow_missing=True)
    entries = [(file.parent.name, file.name) for file in sorted(Path(repo.stage_cache.cache_dir).glob("*/*/*"))]
    with repo.lock:
        copy = repo.cloud.push if direction == "push" else repo.cloud.pull
        # force skips outputs that are lost; a stage without them runs again.
        used = repo.stage_cache.get_used_objs(entries, remote=remote, force=True)
        failed = [name for store, objects in used.items() for name in copy(objects, remote=remote, odb=store).failed]
    if failed:
        raise UserError(f"musicgen-lite {direction}: {len(failed)} files could not be copied; the same command goes on")
    return len(entries)
