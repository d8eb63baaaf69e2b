"""Runs of a small experiment in an MLflow database of their own."""

from pathlib import Path
from typing import Any

import pandas as pd

from musicgen_lite import tracking
from musicgen_lite.params import TrackingParams
from musicgen_lite.tracking.training import Run

PARAMS = {"model": {"type": "a", "pattern": "delay"}, "train": {"steps": 2, "betas": [0.9, 0.99]}}


CURVES = [{"step": 1, "val_loss": 4.0}, {"step": 2, "val_loss": 3.0}]


def settings(
    uri: str = "", required: bool = True, experiment: str = "test", registered_model: str = ""
) -> TrackingParams:
    return TrackingParams(uri=uri, experiment=experiment, required=required, registered_model=registered_model)


def begin(root: Path, params: dict[str, Any] = PARAMS, kept: str = "run", **place: Any) -> Run:
    return tracking.begin(settings(**place), root, params, root / f"{kept}.json")


def content(**changes: Any) -> dict[str, Any]:
    """What a last stage hands to `close`."""
    return {
        "curves": CURVES, "scoring_params": {"sample": {"top_k": 250}}, "key_parts": ["digest"], "metrics": {"clap": 0.25},
        "tables": {"tables/prompts": pd.DataFrame({"prompt": ["techno"]})}, "audio": {"audio/a.flac": b"fLaC"},
        "images": {"images/a.png": b"PNG"}, "files": {}, "tags": {"note": "x"}, **changes,
    }  # fmt: skip


def client(root: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
