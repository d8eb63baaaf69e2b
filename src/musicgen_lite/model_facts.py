"""What a model's file says of the model, read without loading it, and under which licence it stands."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from musicgen_lite.errors import UserError
from musicgen_lite.io.hashing import file_sha256
from musicgen_lite.models import HEADER

OWN_LICENCE = "MIT"  # that of the project, for models of what it composes and ships itself
COMPOSED = "synthetic"  # the data.source that the project composes
EMBEDDED = "embedded"


@dataclass(frozen=True)
class ModelFacts:
    """What a model's file holds besides weights, and its digest.

    config: of the model, with the fingerprints of codec and text encoder; extra: what the training noted, such as the
    names of codec and text encoder (`names`), the `corpus`, the `recipe`, `step` and `val_loss`.
    """

    config: Mapping[str, Any]
    extra: Mapping[str, Any]
    sha256: str

    @property
    def names(self) -> dict[str, str]:
        """The names of `codec` and `text`: embedded, a directory or a name of the hub."""
        return {"codec": EMBEDDED, "text": EMBEDDED, **self.extra.get("names", {})}

    @property
    def corpus(self) -> str:
        """The digest of the clips that it was trained on; "" where the file has none."""
        return str(self.extra.get("corpus", {}).get("clips", ""))

    def licence(self, source: str) -> str:
        """The model's licence where the project can tell, else whose to ask for; source: the `data.source` of its training."""
        if source == COMPOSED and set(self.names.values()) == {EMBEDDED} and self.config["type"] != "musicgen":
            return OWN_LICENCE
        if self.config["type"] == "musicgen":
            return "that of the published checkpoint"
        return "not stated: that of the training data, and of the codec and text encoder where they are not embedded"

    def metadata(self, source: str) -> dict[str, Any]:
        """Everything as JSON holds it."""
        return {
            "config": dict(self.config),
            "codec": self.config["codec"],
            "text": self.config["text"],
            "names": self.names,
            "corpus": self.corpus,
            "source": source,
            "licence": self.licence(source),
            "sha256": self.sha256,
        }


def read(path: str | Path) -> ModelFacts:
    """The facts of the model at `path`. UserError for a file that is missing or no model of this project."""
    if not Path(path).is_file():
        raise UserError(f"{path}: there is no model file; train one with `dvc repro train` or give another path")
    try:
        with safe_open(path, framework="np") as file:
            header = json.loads((file.metadata() or {})[HEADER])
        return ModelFacts(header["config"], header["extra"], file_sha256(path))
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{path}: not a whole model file of this project ({error}); give a file that the train stage wrote"
        ) from error
