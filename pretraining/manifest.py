"""`python -m pretraining.manifest`: record the sha256 of the shipped models' files, and their fingerprints by version."""

import json
import re
import subprocess
from pathlib import Path

import pretraining  # noqa: F401  (puts this tree's src first)
from musicgen_lite import __version__, codec, text
from musicgen_lite.io.files import write_json, write_text
from musicgen_lite.io.hashing import file_sha256
from musicgen_lite.params import CODEBOOKS
from musicgen_lite.pretrained import shipped
from musicgen_lite.pretrained.shipped import MANIFEST, RELEASES, ROOT

CARDS = "*.md"


def write_manifest(root: Path = ROOT, commit: str | None = None) -> dict[str, dict[str, str]]:
    """Write the manifest of every model under `root` and the commit into the model cards' line `Code commit:`.

    commit: by default that of the repository, `unknown` outside of one. Returns the manifest.
    """
    if commit is None:
        asked = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
        commit = asked.stdout.strip() if asked.returncode == 0 else "unknown"
    manifest: dict[str, dict[str, str]] = {}
    for model in sorted(place for place in root.iterdir() if any(place.glob("*.safetensors"))):
        files = sorted(file for file in model.iterdir() if file.is_file() and not file.match(CARDS))
        manifest[model.name] = {file.name: file_sha256(file) for file in files}
        for card in model.glob(CARDS):
            text = card.read_text(encoding="utf-8")
            write_text(card, re.sub(r"(?m)^(- )?Code commit:.*$", rf"\1Code commit: {commit}", text))
    write_json(root / MANIFEST, manifest)
    shipped.path.cache_clear()
    return manifest


def fingerprints() -> list[str]:
    """Of the shipped codec, with each number of its codebooks in use, and of the shipped text encoder."""
    counts = range(1, CODEBOOKS["embedded"] + 1)
    return [
        *(codec.load("embedded", num_codebooks=count).fingerprint for count in counts),
        text.load("embedded").fingerprint,
    ]


def main() -> None:
    for model, files in write_manifest().items():
        print(model, *files)
    releases = json.loads((ROOT / RELEASES).read_text(encoding="utf-8"))
    write_json(ROOT / RELEASES, releases | {__version__: fingerprints()})


if __name__ == "__main__":
    main()
