"""`musicgen-lite ui`."""

from pathlib import Path

from musicgen_lite.cli.tracking import Experiment, Uri, place


def ui(uri: Uri = "", experiment: Experiment = "") -> None:
    """Open MLflow at the comparison of all runs; Ctrl-C ends it."""
    from musicgen_lite import tracking

    tracking.ui(place(uri, experiment), Path.cwd())
