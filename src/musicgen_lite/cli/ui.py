"""`musicgen-lite ui`."""

from pathlib import Path

from musicgen_lite.cli.shared.tracking import Experiment, Uri, tracking_params


def ui(uri: Uri = "", experiment: Experiment = "") -> None:
    """Open MLflow at the comparison of all runs; Ctrl-C ends it."""
    from musicgen_lite import tracking

    tracking.ui(tracking_params(uri, experiment), Path.cwd())
