"""Pretrained models in transformers' files: one way to find them, and loading that fails where weights are missing.

A model is shipped with the package, a directory, or a name of the hub, there at a revision: `t5-base`,
`facebook/encodec_32khz@COMMIT`. A MusicGen checkpoint holds a codec and a text encoder: its name is valid for both.
Weights are safetensors; a pickle can run code when it is loaded, so one is read only if the user trusts its sha256. By
itself transformers fills missing weights with random numbers, and makes an empty tokenizer where files are missing.
"""

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicgen_lite.errors import UserError, first_line
from musicgen_lite.io.hashing import file_sha256, file_stat, files_in, short_digest
from musicgen_lite.pretrained import shipped

if TYPE_CHECKING:
    import torch

CONFIG, PICKLE = "config.json", "pytorch_model.bin"
SAFE = ("model.safetensors", "model.safetensors.index.json")
MUSICGEN = "musicgen"  # the model_type of a checkpoint of several parts
# What is downloaded from a hub repository beside its weights: configurations and tokenizers.
SMALL_FILES = ("*.json", "*.txt", "*.model")
HUB_TIMEOUT_S = 5.0
MIN_PIECES = 100
# Texts whose token ids enter a tokenizer's fingerprint.
PROBES = ("A fast Techno beat, 120 BPM.", "  naïve  Ünïcode 音楽 🎵\n", "")


@dataclass(frozen=True)
class Source:
    """A model's files: `folder`; `revision`: the hub's commit, "" for other models.

    parameter, name: what the user gave; sha256: of its weights if they are a trusted pickle, else "".
    """

    parameter: str
    name: str
    folder: Path
    revision: str = ""
    sha256: str = ""

    @property
    def pickled(self) -> bool:
        """Whether its weights are a pickle."""
        return bool(self.sha256)

    @property
    def pinned(self) -> str:
        """The name that finds the same files again: for a model of the hub with its commit."""
        return f"{self.name.partition('@')[0]}@{self.revision}" if self.revision else self.name

    @property
    def label(self) -> str:
        """The name with its commit, and the digest of a pickle."""
        return f"{self.pinned}, sha256 {self.sha256}" if self.sha256 else self.pinned

    def __str__(self) -> str:
        return f"{self.parameter} {self.name!r} ({self.folder})"


def locate(
    name: str, parameter: str, embedded: Mapping[str, str], trusted: Collection[str] = (), small: bool = False
) -> Source:
    """The files of the model called `name`, downloaded from the hub if they are not cached.

    name: a key of `embedded` (which maps to a name under the package's weights), a directory, or a hub name, which
    `@` and a revision may follow; trusted: sha256 of the pickles that may be loaded; small: only configuration and
    tokenizer, no weights. Raises UserError naming the `parameter` where the model is unknown or incomplete.
    """
    if name in embedded:
        return Source(parameter, name, shipped.path(embedded[name]))
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _checked(Source(parameter, name, folder), trusted, small)
    if is_path(name):
        raise UserError(f"{parameter}: there is no directory {name}")
    try:
        folder = _snapshot(name, small)
    except Exception as error:  # the hub's client raises many types
        known = f"none of {', '.join(embedded)}, not" if embedded else "not"
        raise UserError(
            f"{parameter}: {name!r} is {known} a directory, and the model hub did not give it "
            f"({first_line(error)}); check the name, or without a network name a directory"
        ) from error
    return _checked(Source(parameter, name, folder, revision=folder.name), trusted, small)


def is_path(name: str) -> bool:
    """Whether a model's name is that of a file or a directory, there or not, and not one of the hub."""
    path = Path(name).expanduser()
    return path.exists() or path.is_absolute() or name.startswith(".") or name.partition("@")[0].count("/") > 1


def _snapshot(name: str, small: bool) -> Path:
    """The files of `name` in the hub's own cache, downloaded if they are missing; the folder's name is their commit."""
    from huggingface_hub import HfApi, snapshot_download

    repository, _, revision = name.partition("@")
    revision = revision or "main"
    try:
        kept = Path(snapshot_download(repository, revision=revision, local_files_only=True))
        if (kept / CONFIG).is_file() and (small or any((kept / file).is_file() for file in (*SAFE, PICKLE))):
            return kept
    except Exception:  # not cached
        pass
    # First, because without a network it fails at once, without retries.
    found = HfApi().model_info(repository, revision=revision, timeout=HUB_TIMEOUT_S)
    safe = any(file.rfilename in SAFE for file in found.siblings or ())
    held = () if small else ("model*.safetensors",) if safe else (PICKLE,)
    return Path(snapshot_download(repository, revision=revision, allow_patterns=[*SMALL_FILES, *held]))


def _checked(source: Source, trusted: Collection[str], small: bool) -> Source:
    folder = source.folder
    if not (folder / CONFIG).is_file():
        raise UserError(
            f"{folder / CONFIG}: this file is missing; {source.parameter} needs a directory made by save_pretrained"
        )
    if small or any((folder / file).is_file() for file in SAFE):
        return source
    if not (folder / PICKLE).is_file():
        raise UserError(f"{folder}: no weights in it, one of {', '.join((*SAFE, PICKLE))} is needed")
    return replace(source, sha256=check_pickle(folder / PICKLE, source.parameter, trusted))


def check_pickle(
    path: Path,
    parameter: str,
    trusted: Collection[str],
    place: str = "trusted_pickles",
    stated: str = "",
    other: str = "",
) -> str:
    """The sha256 of the pickle at `path`. Raises UserError unless it is `trusted`, by the parameter `place`, or begins
    with the digits that its publisher `stated`. other: what to take in its place, if that is no safetensors checkpoint."""
    found = file_sha256(path)
    if found not in trusted and not (stated and found.startswith(stated)):
        raise UserError(
            f"{path}: a pickle, which can run any code when it is loaded, with sha256 {found}, which {place} does not hold; "
            f"take {other or 'a safetensors checkpoint'} for {parameter}, or, if its publisher states this very sha256, name it in {place}"
        )
    return found


def state(name: str) -> str:
    """Over names, sizes and times of change of the files of a model that is a directory or a file, else "".

    A cheap check for changes: the contents, which may be gigabytes, are not read.
    """
    place = Path(name).expanduser()
    stats = [(file.relative_to(place).as_posix(), *file_stat(file)) for file in files_in([place])]
    return short_digest(stats) if stats else ""


def damaged(error: Exception, source: Source) -> UserError:
    """The UserError for a model that failed to load with `error`."""
    return UserError(f"{source}: cannot be loaded, {first_line(error)}; fetch its files again")


def read_config(source: Source, part: str = "") -> dict[str, Any]:
    """The configuration in config.json; of a MusicGen checkpoint that of its `part`, such as audio_encoder."""
    try:
        config = dict(json.loads((source.folder / CONFIG).read_text(encoding="utf-8")))
        return config[part] if part and config.get("model_type") == MUSICGEN else config
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(error, source) from error


def check_type(source: Source, *expected: str, part: str = "") -> str:
    """The architecture that the configuration at `source` names; UserError unless it is one of the `expected`, such as t5.

    transformers loads other architectures with some equal names of weights, and drops the rest.
    """
    found = read_config(source, part).get("model_type")
    if found not in expected:
        raise UserError(
            f"{source}: model_type in {CONFIG} is {found!r}, but {source.parameter} needs {' or '.join(map(repr, expected))}; "
            "name another model"
        )
    return str(found)


def load_model(model_class: Any, source: Source, part: str = "") -> Any:
    """The model at `source` in float32 and evaluation mode, frozen, every weight of it read from the files.

    Of a MusicGen checkpoint its `part` is loaded. Raises UserError for damaged files, another architecture, or weights
    that the files do not hold.
    """
    import torch

    config, options = read_config(source), {}
    try:
        if part and config.get("model_type") == MUSICGEN:
            options = {"config": model_class.config_class.from_dict(config[part]), "key_mapping": {rf"^{part}\.": ""}}
        # A half-precision file would otherwise load in half precision, and give other results.
        with quiet():
            model, found = model_class.from_pretrained(
                source.folder,
                dtype=torch.float32,
                output_loading_info=True,
                use_safetensors=not source.pickled,
                **options,
            )
    except Exception as error:  # transformers and safetensors raise a dozen types here
        raise damaged(error, source) from error
    # Position buffers are rebuilt; checkpoints of older versions lack them.
    keys = map(str, {*found["missing_keys"], *found["mismatched_keys"]})
    absent = sorted(key for key in keys if "position_ids" not in key)
    if absent:
        raise UserError(
            f"{source}: its weights lack {len(absent)} of what {model_class.__name__} needs, such as {absent[0]}; "
            f"{source.parameter} needs a checkpoint of that architecture"
        )
    return model.eval().requires_grad_(False)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and reports: this module reports what is missing or wrong."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def read_tensors(source: Source, prefixes: tuple[str, ...]) -> dict[str, "torch.Tensor"]:
    """The weights at `source` whose names begin with one of `prefixes`, in float32; nothing else of the files is read."""
    import torch
    from safetensors import safe_open

    folder, found = source.folder, {}
    try:
        if source.pickled:
            held = torch.load(folder / PICKLE, map_location="cpu", weights_only=True, mmap=True)
            return {name: tensor.float() for name, tensor in held.items() if name.startswith(prefixes)}
        index = folder / SAFE[1]
        whole = (folder / SAFE[0]).is_file()
        for file in [SAFE[0]] if whole else sorted({*json.loads(index.read_text())["weight_map"].values()}):
            with safe_open(folder / file, framework="pt") as shard:
                for name in shard.keys():  # noqa: SIM118
                    if name.startswith(prefixes):
                        found[name] = shard.get_tensor(name).float()
    except Exception as error:  # see load_model
        raise damaged(error, source) from error
    return found


def load_tokenizer(source: Source) -> Any:
    """The fast tokenizer at `source`. Raises UserError where its files are missing, damaged or hold hardly any pieces."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source.folder)
    except Exception as error:  # see load_model
        raise damaged(error, source) from error
    if len(tokenizer) < MIN_PIECES:
        raise UserError(
            f"{source}: its tokenizer has only {len(tokenizer)} pieces, at least {MIN_PIECES} are expected; "
            "files such as tokenizer.json are missing or damaged, fetch them again"
        )
    return tokenizer


def tokenizer_digest(tokenizer: Any) -> str:
    """A hash of a tokenizer's pieces and of how it cuts a few texts, to enter a fingerprint."""
    cuts = [tokenizer(text).input_ids for text in PROBES]
    return short_digest([sorted(tokenizer.get_vocab().items()), cuts])
