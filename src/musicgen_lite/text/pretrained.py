"""Loading transformers models and tokenizers so that what is missing or damaged is said, never made up.

Left alone, transformers fills absent weights with random numbers, and makes an empty tokenizer where its files are absent.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from musicgen_lite import weights
from musicgen_lite.errors import UserError

CONFIG, WEIGHTS = "config.json", ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
MIN_PIECES = 100
# Texts whose token ids stand for how a tokenizer cuts words, in its fingerprint.
PROBES = ("A fast Techno beat, 120 BPM.", "  naïve  Ünïcode 音楽 🎵\n", "")


def locate(name: str, parameter: str, embedded: dict[str, str]) -> str:
    """Where the model called `name` is read from: a checked directory, or a hub name as it stands.

    name: a key of `embedded` (which maps to a name under the package's weights), a directory, or a hub name.
    Raises UserError naming the `parameter` where a directory has no model in it.
    """
    if name in embedded:
        return str(weights.path(embedded[name]))
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / CONFIG).is_file():
            raise UserError(
                f"{folder / CONFIG}: this file is missing; {parameter} needs a directory made by save_pretrained"
            )
        if not any((folder / file).is_file() for file in WEIGHTS):
            raise UserError(f"{folder}: no weights in it, one of {', '.join(WEIGHTS)} is needed")
        return str(folder)
    if folder.is_absolute() or name.startswith(".") or name.count("/") > 1:
        raise UserError(f"{parameter}: there is no directory {name}")
    return name


def explain(error: Exception, source: str, parameter: str, known: dict[str, str]) -> UserError:
    """What to tell a user whose model at `source` failed to load with `error`."""
    if Path(source).is_dir():
        return UserError(f"{source}: cannot be loaded, {_first_line(error)}; fetch its files again")
    return UserError(
        f"{parameter}: {source!r} is none of {', '.join(known)}, not a directory, and the model hub did not give it "
        f"({_first_line(error)}); check the name, or without a network name a directory"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def load_model(model_class: Any, source: str, parameter: str, known: dict[str, str]) -> Any:
    """The model at `source` in float32 and evaluation mode, every weight of it read from the files.

    Raises UserError for damaged files, another architecture, or weights that the files do not hold.
    """
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model, found = model_class.from_pretrained(source, dtype=torch.float32, output_loading_info=True)
    except Exception as error:  # transformers and safetensors raise a dozen types here
        raise explain(error, source, parameter, known) from error
    # Buffers of positions are made anew; checkpoints of older versions lack them.
    keys = map(str, {*found["missing_keys"], *found["mismatched_keys"]})
    absent = sorted(key for key in keys if "position_ids" not in key)
    if absent:
        raise UserError(
            f"{source}: its weights lack {len(absent)} of what {model_class.__name__} needs, such as {absent[0]}; "
            f"{parameter} needs a checkpoint of that architecture"
        )
    return model.eval()


def load_tokenizer(source: str, parameter: str, known: dict[str, str]) -> Any:
    """The fast tokenizer at `source`. Raises UserError where its files are missing, damaged or hold hardly any pieces."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except Exception as error:  # see load_model
        raise explain(error, source, parameter, known) from error
    if len(tokenizer) < MIN_PIECES:
        raise UserError(
            f"{source}: its tokenizer has only {len(tokenizer)} pieces, at least {MIN_PIECES} are expected; "
            "files such as tokenizer.json are missing or damaged, fetch them again"
        )
    return tokenizer


def tokenizer_digest(tokenizer: Any) -> str:
    """A hash of a tokenizer's pieces and of how it cuts a few texts, to enter a fingerprint."""
    cuts = [tokenizer(text).input_ids for text in PROBES]
    return hashlib.sha256(json.dumps([sorted(tokenizer.get_vocab().items()), cuts]).encode()).hexdigest()[:16]
