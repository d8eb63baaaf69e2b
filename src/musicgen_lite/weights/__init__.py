"""The shipped models' files, and the check that they are whole.

`MANIFEST.json` records the sha256 of each model's weights, configuration and tokenizer; `RELEASES.json` the fingerprints of
the codec and the text encoder that each version of the project shipped, since a model goes with no others. `python -m
musicgen_lite.weights` writes both anew after a model was trained.
"""

import functools
import hashlib
import json
import re
import subprocess
from pathlib import Path

from musicgen_lite.errors import UserError
from musicgen_lite.store import write_json, write_text

ROOT = Path(__file__).resolve().parent
MANIFEST, RELEASES = "MANIFEST.json", "RELEASES.json"
CARD = "README.md"
_MEND = "restore it with `git checkout -- src/musicgen_lite/weights`, or install the package again"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def path(name: str, root: Path = ROOT) -> Path:
    """The directory of the shipped model `name`, each of its files checked once per process.

    Raises UserError naming a file that is missing or differs from the manifest, or an unknown model.
    """
    manifest: dict[str, dict[str, str]] = {}
    if (root / MANIFEST).is_file():
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    else:
        raise UserError(f"{root / MANIFEST}: this file is missing; {_MEND}")
    if name not in manifest:
        raise UserError(f"{root / MANIFEST}: no shipped model {name!r}; there are {', '.join(sorted(manifest))}")
    for file, expected in manifest[name].items():
        place = root / name / file
        if not place.is_file():
            raise UserError(f"{place}: this file of the shipped model {name!r} is missing; {_MEND}")
        found = _sha256(place)
        if found != expected:
            raise UserError(f"{place}: damaged: sha256 is {found[:16]}…, {MANIFEST} says {expected[:16]}…; {_MEND}")
    return root / name


def shipped_by(fingerprint: str, root: Path = ROOT) -> list[str]:
    """The versions of the project that shipped the codec or the text encoder of this fingerprint."""
    releases: dict[str, list[str]] = json.loads((root / RELEASES).read_text(encoding="utf-8"))
    return [version for version, fingerprints in releases.items() if fingerprint in fingerprints]


def seal(root: Path = ROOT, commit: str | None = None) -> dict[str, dict[str, str]]:
    """Write the manifest of every model under `root` and the commit into the model cards' line `Code commit:`.

    commit: by default that of the repository, `unknown` outside of one. Returns the manifest.
    """
    if commit is None:
        asked = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
        commit = asked.stdout.strip() if asked.returncode == 0 else "unknown"
    manifest: dict[str, dict[str, str]] = {}
    for model in sorted(place for place in root.iterdir() if (place / "config.json").is_file()):
        files = sorted(file for file in model.iterdir() if file.is_file() and file.name != CARD)
        manifest[model.name] = {file.name: _sha256(file) for file in files}
        card = model / CARD
        if card.is_file():
            text = card.read_text(encoding="utf-8")
            write_text(card, re.sub(r"(?m)^(- )?Code commit:.*$", rf"\1Code commit: {commit}", text))
    write_json(root / MANIFEST, manifest)
    path.cache_clear()
    return manifest
