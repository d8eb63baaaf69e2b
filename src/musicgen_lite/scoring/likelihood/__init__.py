"""Negative log-likelihood of held-out tokens, beside count baselines."""
