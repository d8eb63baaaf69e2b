"""The aliases of MLflow's model registry."""

from pathlib import Path

from musicgen_lite.params import TrackingParams
from musicgen_lite.tracking.connection import locate
from musicgen_lite.tracking.results import reading


def aliases(tracking: TrackingParams, root: str | Path) -> list[str]:
    """The address of every alias, models:/NAME@ALIAS, sorted; none where there is no database yet.

    Raises Unreachable where tracking does not answer.
    """
    place = locate(tracking, root)
    if place.database and not place.database.exists():
        return []
    with reading(place) as connection:
        models = connection.client.search_registered_models()
        return sorted(f"models:/{model.name}@{alias}" for model in models for alias in model.aliases)
