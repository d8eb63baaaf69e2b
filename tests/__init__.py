"""Behaviour against oracles, closed forms and reference implementations; the folders mirror src/."""
