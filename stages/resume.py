"""Where an interrupted training is kept: a folder named by everything that decides what the training computes."""

from pathlib import Path
from typing import Any

from musicgen_lite.models.config import TYPES
from musicgen_lite.params import Params
from stages.common import TEXT, TOKENS
from stages.unfinished import folder_of


def relevant(params: Params) -> dict[str, Any]:
    """The parameters that a training depends on: of the models' sections the chosen one, under names that all share.

    A published model is not trained: of it there are no parameters of training.
    """
    tree = params.model_dump(mode="json", include={"seed", "compute", "data", "codec", "text", "train"})
    model = params.model.model_dump(mode="json")
    sections = {name: model.pop(name) for name in TYPES}
    if params.model.type == "musicgen":
        del tree["train"], model["dropout_text"]
    tree["model"] = {**model, **sections[params.model.type]}
    return tree


def checkpoints(params: Params) -> Path:
    """The folder for this training's checkpoints.

    Its name hashes parameters, the digests of tokens and text, and the code of models and training: a changed input
    never resumes from checkpoints of another.
    """
    source = Path("src/musicgen_lite")
    code = [*source.glob("training/*.py"), *source.glob("models/*.py"), source / "patterns.py"]
    others = {f"{name}.py" for name in TYPES if name != params.model.type}
    inputs = [
        folder / name
        for folder in (TOKENS / "target", TOKENS / "prompt", TEXT)
        for name in ("meta.json", "index.parquet")
    ]
    return folder_of(relevant(params), sorted(path for path in code if path.name not in others) + inputs)
