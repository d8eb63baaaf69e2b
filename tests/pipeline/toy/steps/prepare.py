from pathlib import Path

from .common import PARAMS, journal, write

journal("prepare")
write(Path("data/tokens.json"), list(range(PARAMS["data"]["clips"])))
