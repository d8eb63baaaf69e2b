"""Scores of generated audio: CLAP, FAD, KAD, tempo, memorisation."""
