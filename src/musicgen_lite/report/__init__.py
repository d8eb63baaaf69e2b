"""Listening page, comparison of runs, plots, and the summary in the terminal."""

from musicgen_lite.errors import require

require("matplotlib", extra="pipeline", purpose="a page or a comparison")
