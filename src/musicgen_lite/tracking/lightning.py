"""Lightning's MLflow logger on a row whose beginning and end are decided elsewhere."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from musicgen_lite.tracking.connection import Connection

if TYPE_CHECKING:
    from musicgen_lite.tracking.training import Run


class RowLogger(MLFlowLogger):
    """Feeds metrics to the row of `run`; a server that dies midway does not stop the training.

    Parameters are logged when the row is opened, and its status belongs to `Run` and to the last stage.
    """

    def __init__(self, run: "Run", connection: Connection) -> None:
        place = connection.place
        super().__init__(place.experiment, tracking_uri=place.uri, run_id=run.record["run_id"])
        self._run = run
        _ = self.experiment  # Looked up now, while the server is known to answer.

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._run.log(metrics, step or 0)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: `begin` has logged them."""

    def finalize(self, status: str = "success") -> None:
        """Nothing to do: the row stays open for the scores."""
