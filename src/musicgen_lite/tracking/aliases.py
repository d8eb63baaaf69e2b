"""The aliases of MLflow's model registry."""

from dataclasses import dataclass
from pathlib import Path

from musicgen_lite.params import TrackingParams
from musicgen_lite.tracking.connection import locate
from musicgen_lite.tracking.results import reading


@dataclass(frozen=True)
class Alias:
    """A registered version by one of its aliases: its address in MLflow, models:/NAME@ALIAS, and the run that it is of."""

    uri: str
    run_id: str


def aliases(tracking: TrackingParams, root: str | Path) -> list[Alias]:
    """Every alias of a version that has a run, by address; none where there is no database yet.

    Raises Unreachable where tracking does not answer.
    """
    place = locate(tracking, root)
    if place.database and not place.database.exists():
        return []
    with reading(place) as connection:
        client = connection.client
        found = [
            Alias(f"models:/{model.name}@{alias}", client.get_model_version(model.name, str(version)).run_id)
            for model in client.search_registered_models()
            for alias, version in model.aliases.items()
        ]
    return sorted((one for one in found if one.run_id), key=lambda one: one.uri)
