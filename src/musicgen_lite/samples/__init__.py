"""The samples of a run: the prompts, candidates for each by a system, and the picked ones; or another system's audio."""
