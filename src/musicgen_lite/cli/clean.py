"""`musicgen-lite clean`."""

import time
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musicgen_lite.cli.shared.tracking import Experiment, Uri, tracking_params
from musicgen_lite.errors import UserError

if TYPE_CHECKING:
    from musicgen_lite.cli.shared.dvc_cache import Cache


class Kind(StrEnum):
    """What can be removed."""

    CHECKPOINTS = "checkpoints"
    ARTIFACTS = "artifacts"
    FETCHED = "fetched"
    OBJECTS = "objects"
    RUNS = "runs"


WHAT = {
    Kind.CHECKPOINTS: "interrupted work that no process holds; the same work would start over",
    Kind.ARTIFACTS: "of runs that were deleted in MLflow or are missing from its database, and their models, unless registered",
    Kind.FETCHED: "models of an MLflow server and copies of remote folders; they would be fetched again",
    Kind.OBJECTS: "that no commit, experiment or run-cache entry refers to, nor the workspace",
    Kind.RUNS: "results that only the run cache holds; they would be computed again",
}
# Models, folders, and models as earlier releases kept them. Fetched videos stay: they may be gone from where they came.
FETCHED = ("cache/models", "cache/folders", "cache/runs")


def clean(
    remove: Annotated[
        list[Kind] | None, typer.Option(help="Remove these. May be repeated.", show_default=False)
    ] = None,
    days: Annotated[float, typer.Option(help="Keep what was written in the last days; 0 ignores age.")] = 1.0,
    uri: Uri = "",
    experiment: Experiment = "",
) -> None:
    """Show the disk use of interrupted work, DVC's cache and MLflow's artifacts; with --remove, delete what nothing refers to."""
    if days < 0:
        raise UserError(f"days: found {days:g}; 0 or more are allowed")
    from musicgen_lite import tracking
    from musicgen_lite.cli.shared import dvc_cache
    from musicgen_lite.io import work

    root, settings, seconds = Path.cwd(), tracking_params(uri, experiment), days * 86400
    with dvc_cache.open_cache() as cache:
        unused = tracking.leftovers(settings, root, seconds)
        found = {
            Kind.CHECKPOINTS: work.abandoned("checkpoints", seconds),
            Kind.ARTIFACTS: unused.folders,
            Kind.FETCHED: [one for place in FETCHED for one in work.abandoned(place, seconds)],
            **_of_cache(cache, seconds),
        }
        artifacts = [unused.folder] if unused.folder else []
        _print_sizes([Path("checkpoints"), *artifacts, cache.folder, cache.runs, cache.queue, Path("cache")])
        _print_found(found, set(remove or []))
        for kind in remove or []:
            match kind:
                case Kind.CHECKPOINTS | Kind.FETCHED:
                    for folder in found[kind]:
                        work.discard(folder)
                case Kind.ARTIFACTS:
                    tracking.discard(settings, root, unused)
                case _:
                    cache.discard(found[kind])


def _of_cache(cache: "Cache", seconds: float) -> dict[Kind, list[Path]]:
    """Objects that nothing refers to, and run-cache entries with the objects that only they refer to."""
    since = time.time() - seconds
    entries = [entry for entry in cache.remembered() if entry.path.stat().st_mtime <= since]
    unused, forgotten = cache.unused(), cache.unused(without=entries)
    only = [path for path in forgotten if path not in set(unused)] if entries else []
    return {
        Kind.OBJECTS: [path for path in unused if path.stat().st_mtime <= since],
        Kind.RUNS: [*(entry.path for entry in entries), *only],
    }


def _print_sizes(places: Iterable[Path]) -> None:
    print(f"{'':24} {'files':>8} {'size':>10}")
    for path in places:
        name = path.relative_to(Path.cwd()) if path.is_absolute() and path.is_relative_to(Path.cwd()) else path
        print(f"{name!s:24} {_size([path])}")


def _print_found(found: Mapping[Kind, list[Path]], chosen: set[Kind]) -> None:
    print("\nof these:")
    for kind, paths in found.items():
        print(f"{kind:24} {_size(paths)}  {WHAT[kind]}{'; removed' if kind in chosen else ''}")
    if not chosen:
        print(
            "\nNothing was removed. To remove one kind: `musicgen-lite clean --remove checkpoints`; the others likewise."
        )


def _size(paths: Iterable[Path]) -> str:
    """Number of files and their size in MB."""
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    return f"{len(files):8} {sum(file.lstat().st_size for file in files) / 1e6:7.1f} MB"
