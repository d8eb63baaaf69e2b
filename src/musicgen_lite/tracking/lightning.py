"""Lightning's MLflow logger on a row whose beginning and end are decided elsewhere."""

from collections.abc import Callable, Mapping
from typing import Any

from musicgen_lite.errors import require
from musicgen_lite.tracking.connection import Place

_lightning = require("lightning.pytorch", extra="pipeline", purpose="training")


class RowLogger(_lightning.loggers.MLFlowLogger):  # type: ignore[name-defined]
    """Hands metrics to `feed(metrics, step)`, which does not raise where a server dies midway.

    Parameters are logged when the row is opened, and its status belongs to `Run` and to the last stage.
    """

    def __init__(self, place: Place, run_id: str, feed: Callable[[Mapping[str, float], int], None]) -> None:
        super().__init__(place.experiment, tracking_uri=place.uri, run_id=run_id)
        self._feed = feed
        _ = self.experiment  # Looked up now, while the server is known to answer.

    @_lightning.utilities.rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._feed(metrics, step or 0)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: `begin` has logged them."""

    def finalize(self, status: str = "success") -> None:
        """Nothing to do: the row stays open for the scores."""
