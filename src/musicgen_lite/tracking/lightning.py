"""Lightning's MLflow logger for a run that is opened and closed elsewhere."""

from collections.abc import Callable, Mapping
from typing import Any

from musicgen_lite.errors import require
from musicgen_lite.tracking.connection import Place

_lightning = require("lightning.pytorch", extra="pipeline", purpose="training")


class RunLogger(_lightning.loggers.MLFlowLogger):  # type: ignore[name-defined]
    """Passes metrics to `log(metrics, step)`, which does not raise where the server fails.

    Parameters are logged when the run is opened; `Run` and the last stage set its status.
    """

    def __init__(self, place: Place, run_id: str, log: Callable[[Mapping[str, float], int], None]) -> None:
        super().__init__(place.experiment, tracking_uri=place.uri, run_id=run_id)
        self._log = log
        _ = self.experiment  # looked up now, while the server answers

    @_lightning.utilities.rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._log(metrics, step or 0)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Does nothing: `begin` has logged them."""

    def finalize(self, status: str = "success") -> None:
        """Does nothing: the run stays open for the scores."""
