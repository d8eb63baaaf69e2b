"""How a trained transformers model becomes files that the package ships."""

import copy
from pathlib import Path
from typing import Any

from musicgen_lite.io.files import atomic_dir
from musicgen_lite.io.hashing import file_sha256


def export(directory: Path, model: Any, *preprocessors: Any) -> None:
    """Write `model` in fp16 and the tokenizer and such that go with it into `directory`, whole or not at all."""
    with atomic_dir(directory) as part:
        copy.deepcopy(model).half().save_pretrained(part)
        for preprocessor in preprocessors:
            preprocessor.save_pretrained(part)
        # Whoever may read the repository may read these.
        for file in part.iterdir():
            file.chmod(0o644)


def digest(directory: Path) -> str:
    """sha256 of the weights in `directory`."""
    return file_sha256(directory / "model.safetensors")
