"""Longer checks and measurements, one command each; their figures are in docs/results.md."""
