"""`python -m pretraining.ship`: put the models of `pretraining/models/` into the package and record their sha256.

The package's directory is no DVC output: the main pipeline depends on it, and would otherwise train the models anew.
"""

import argparse
import shutil
from pathlib import Path

import pretraining  # noqa: F401  (puts this tree's src first)
from musicgen_lite.io.files import atomic_dir, atomic_path
from musicgen_lite.pretrained import shipped
from pretraining.manifest import write_manifest

MODELS = Path(__file__).parent / "models"


def ship(models: Path = MODELS, root: Path = shipped.ROOT) -> list[str]:
    """Copy each directory of `models`, and the language models' files, to `root`; write the manifest, and return their names."""
    names = sorted(place.name for place in models.iterdir() if (place / "config.json").is_file())
    for name in names:
        with atomic_dir(root / name) as part:
            shutil.copytree(models / name, part, dirs_exist_ok=True)
    language_models = sorted(models.glob("*.safetensors"))
    for model in language_models:
        with atomic_path(root / shipped.MODELS / model.name) as part:
            shutil.copyfile(model, part)
            part.chmod(0o644)  # whoever may read the repository may read these
    write_manifest(root)
    return [*names, *(model.stem for model in language_models)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--root", type=Path, default=shipped.ROOT)
    arguments = parser.parse_args()
    print("shipped:", ", ".join(ship(arguments.models, arguments.root)))


if __name__ == "__main__":
    main()
