"""Scores of a model and of its audio: likelihood of held-out tokens, fit of audio to text, distances between sets of audio.

`metrics` is the registry of all metrics. Every score has n and a 95 % CI. Bad input raises an error that names it; nothing is
left out in silence.
"""
