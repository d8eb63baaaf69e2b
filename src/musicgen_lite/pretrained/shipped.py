"""The shipped models' files, and the check that they are complete.

In `musicgen_lite/weights`, `MANIFEST.json` records the sha256 of each model's weights, configuration and tokenizer, and
`RELEASES.json` the fingerprints of the codec and the text encoder that each version of the project shipped, since a model
fits no others. `python -m pretraining.manifest` rewrites both after a training.
"""

import functools
import json
from pathlib import Path
from typing import Protocol

from musicgen_lite import __version__
from musicgen_lite.errors import UserError
from musicgen_lite.io.hashing import file_sha256

ROOT = Path(__file__).resolve().parent.parent / "weights"
MODELS = "models"  # the folder of the language models, one file a type
# What users call the language models, and the types behind the names; the first is that of the better one (docs/results.md).
NAMES = {"shipped": "a", "shipped-a": "a", "shipped-b": "b"}
MANIFEST, RELEASES = "MANIFEST.json", "RELEASES.json"
_REMEDY = "restore it with `git checkout -- src/musicgen_lite/weights`, or install the package again"


@functools.cache
def path(name: str, root: Path = ROOT) -> Path:
    """The directory of the shipped model `name`, each of its files checked once per process.

    Raises UserError naming a file that is missing or differs from the manifest, or an unknown model.
    """
    manifest = _manifest(root)
    if name not in manifest:
        raise UserError(f"{root / MANIFEST}: no shipped model {name!r}; there are {', '.join(sorted(manifest))}")
    for file, expected in manifest[name].items():
        _check(root / name / file, name, expected)
    return root / name


def model_file(kind: str, root: Path = ROOT) -> Path:
    """The file of the shipped language model of a type, `a` or `b`, checked.

    Raises UserError where this version ships none of that type, and naming a file that is missing or damaged.
    """
    place, known = root / MODELS / f"{kind}.safetensors", _manifest(root).get(MODELS, {})
    if place.name in known:
        _check(place, MODELS, known[place.name])
        return place
    if place.is_file():
        raise UserError(f"{place}: {MANIFEST} does not know this file; run `python -m pretraining.manifest`")
    raise UserError(f"MusicGen-Lite {__version__} ships no model of type {kind}")


def _manifest(root: Path) -> dict[str, dict[str, str]]:
    """The sha256 of each file of each shipped model."""
    if not (root / MANIFEST).is_file():
        raise UserError(f"{root / MANIFEST}: this file is missing; {_REMEDY}")
    manifest: dict[str, dict[str, str]] = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    return manifest


def _check(place: Path, name: str, expected: str) -> None:
    """Raise UserError unless the file is there, with the sha256 that the manifest has."""
    if not place.is_file():
        raise UserError(f"{place}: this file of the shipped model {name!r} is missing; {_REMEDY}")
    found = file_sha256(place)
    if found != expected:
        raise UserError(f"{place}: damaged: sha256 is {found[:16]}…, {MANIFEST} says {expected[:16]}…; {_REMEDY}")


def shipped_by(fingerprint: str, root: Path = ROOT) -> list[str]:
    """The versions of the project that shipped the codec or the text encoder of this fingerprint."""
    releases: dict[str, list[str]] = json.loads((root / RELEASES).read_text(encoding="utf-8"))
    return [version for version, fingerprints in releases.items() if fingerprint in fingerprints]


class TrainedWith(Protocol):
    """The fingerprints of the codec and the text encoder that a model was trained with: its config has them."""

    @property
    def codec(self) -> str: ...
    @property
    def text(self) -> str: ...


def check_parts(path: str | Path, config: TrainedWith, codec: str, text: str) -> None:
    """Raise UserError unless `codec` and `text` are the fingerprints of those that the model at `path` was trained with."""
    for part, parameter, found, needed in (
        ("codec", "codec.name", codec, config.codec),
        ("text encoder", "text.name", text, config.text),
    ):
        if found != needed:
            raise UserError(
                f"{path}: the model was trained with the {part} {needed}, but here it is {found}; "
                f"{remedy(parameter, needed)}, or train it again with this one"
            )


def remedy(parameter: str, fingerprint: str) -> str:
    """Where the codec or the text encoder of this fingerprint comes from."""
    versions = shipped_by(fingerprint)
    if __version__ in versions:
        return f"that one is shipped with this version: set {parameter} to embedded"
    if versions:
        return (
            f"that one was shipped with MusicGen-Lite {versions[0]}, and this is {__version__}: use that version for it"
        )
    return (
        f"no version shipped that one: set {parameter} to the directory or the name of the hub that it was trained with"
    )
