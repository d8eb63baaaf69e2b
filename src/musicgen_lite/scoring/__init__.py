"""Scores of a model and of its audio: how likely held-out tokens are, how well audio fits text, how near sets of audio lie.

Every score comes with n and a 95 % interval. Bad input stops a score by name; nothing is left out in silence.
"""
