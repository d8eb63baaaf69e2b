"""The model as MLflow serves it: a script that is logged with each model and runs where that is loaded.

It needs this package there. Columns in: prompt and, if wanted, seconds, seed and guidance; out: wav, the bytes of the file that
`musicgen-lite generate` writes with equal arguments. The server's JSON has them in base64.
"""

import threading
from collections.abc import Mapping
from typing import Any

import pandas as pd

from musicgen_lite.errors import UserError, require

require("mlflow", extra="pipeline", purpose="serving a model")

from mlflow.exceptions import MlflowException  # noqa: E402 - after the message about its missing extra
from mlflow.models import set_model  # noqa: E402
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE  # noqa: E402
from mlflow.pyfunc import PythonModel  # noqa: E402


class Music(PythonModel):
    """Generates one piece of music per row, one at a time."""

    def load_context(self, context: Any) -> None:
        from musicgen_lite.generator import load

        self._lock = threading.Lock()
        self._generator = load(context.artifacts["model"], **(context.model_config or {}))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row per prompt with its `wav`. MlflowException, which a server answers with 400, for what cannot be asked for."""
        candidates = int((params or {})["candidates"])
        try:
            with self._lock:
                sounds = [self._wav(row, candidates) for row in model_input.to_dict("records")]
        except UserError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from error
        return pd.DataFrame({"wav": sounds}, index=model_input.index)

    def _wav(self, row: Mapping[str, Any], candidates: int) -> bytes:
        from musicgen_lite.generation import Sampling

        given = {name: row[name] for name in ("seconds", "seed", "guidance") if not pd.isna(row.get(name))}
        sampling = Sampling(top_k=250, guidance=float(given.get("guidance", 2.0)))
        music = self._generator.generate(
            row["prompt"],
            seconds=float(given.get("seconds", 10.0)),
            seed=int(given.get("seed", 0)),
            candidates=candidates,
            sampling=sampling,
        )
        return music.wav()


set_model(Music())
