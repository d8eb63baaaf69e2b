"""The model that a command is given by `--model`: what `load` takes, a run of MLflow, or a version of its registry."""

from pathlib import Path
from typing import TYPE_CHECKING

from musicgen_lite.errors import UserError

if TYPE_CHECKING:  # pandas takes a second to load
    from musicgen_lite.tracking import TrackedModel

REGISTERED = "models:/"
ALLOWED = (
    "shipped, shipped-a, shipped-b, a model file (.safetensors), an exported folder, a published model's directory or hub name "
    "(owner/name), the name or id of a finished MLflow run, and models:/NAME@ALIAS or models:/NAME/VERSION"
)


def resolve(name: str, uri: str, experiment: str) -> str:
    """What `musicgen_lite.load` takes for it. UserError as in `tracked`."""
    found = tracked(name, uri, experiment)
    return str(found.path) if found else name


def tracked(name: str, uri: str, experiment: str) -> "TrackedModel | None":
    """The model in MLflow that `name` is; None for all others, which MLflow is not loaded for.

    uri, experiment: the options of `tracking_params`. UserError for a run, a version or an alias that is not there.
    """
    if not name.startswith(REGISTERED) and not _may_be_run(name):
        return None
    from musicgen_lite import tracking
    from musicgen_lite.cli.shared.tracking import tracking_params

    try:
        return tracking.tracked_model(tracking_params(uri, experiment), Path.cwd(), name)
    except UserError as error:
        raise UserError(f"model {name!r}: {error}; allowed are {ALLOWED}") from error


def _may_be_run(name: str) -> bool:
    """Whether `name` is neither shipped nor a path nor a name of the hub, which has a slash."""
    from musicgen_lite.pretrained import shipped

    return not (name in shipped.NAMES or "/" in name or name.endswith(".safetensors") or Path(name).exists())
