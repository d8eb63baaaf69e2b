"""`python -m musicgen_lite.weights`: record the sha256 of the shipped models' files, and their fingerprints by version."""

import json

from musicgen_lite import __version__, codec, text
from musicgen_lite.params import CODEBOOKS
from musicgen_lite.store import write_json
from musicgen_lite.weights import RELEASES, ROOT, seal


def fingerprints() -> list[str]:
    """Of the shipped codec, with each number of its codebooks in use, and of the shipped text encoder."""
    counts = range(1, CODEBOOKS["embedded"] + 1)
    return [*(codec.load("embedded", count).fingerprint for count in counts), text.load("embedded").fingerprint]


def main() -> None:
    for model, files in seal().items():
        print(model, *files)
    releases = json.loads((ROOT / RELEASES).read_text(encoding="utf-8"))
    write_json(ROOT / RELEASES, releases | {__version__: fingerprints()})


if __name__ == "__main__":
    main()
