"""EnCodec at 24 kHz in the `encodec` package (CC BY-NC 4.0): its own checkpoint by name, or another by path."""

import urllib.request
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from transformers import EncodecConfig

from musicgen_lite.codec.encodec import SUPPORTED, Encodec, Parts
from musicgen_lite.errors import UserError, first_line, require
from musicgen_lite.pretrained import HUB_TIMEOUT_S, check_pickle

NAME, STEREO, SUFFIX = "encodec_24khz", "encodec_48khz", ".th"
# The package's checkpoint carries the first digits of its sha256 in its name.
DIGEST = "d7cc33bc"
FILE = f"{NAME}-{DIGEST}{SUFFIX}"


def is_named(name: str) -> bool:
    """Whether `codec.name` asks for a model of the package."""
    return name in (NAME, STEREO) or name.endswith(SUFFIX)


def load(name: str, *, num_codebooks: int, device: torch.device, trusted: Collection[str], parameter: str) -> Encodec:
    """The package's 24 kHz model with the weights called `name`.

    name: `encodec_24khz`, whose checkpoint is downloaded once into torch's cache, or the path of such a checkpoint. It
    is a pickle: it is read only if its sha256 begins as the package states or is `trusted`, and then as tensors only.
    """
    if name == STEREO:
        raise UserError(f"{parameter} {name!r}: a stereo codec; {SUPPORTED}")
    encodec = require("encodec", extra="encodec", purpose=f"{parameter} {name!r}")
    path = _fetched(encodec, parameter) if name == NAME else Path(name).expanduser()
    if not path.is_file():
        raise UserError(f"{parameter}: there is no file {path}")
    check_pickle(path, parameter, trusted, stated=DIGEST)
    model = encodec.EncodecModel.encodec_model_24khz(pretrained=False).requires_grad_(False)
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch's reader raises half a dozen types
        raise UserError(
            f"{parameter} {path}: not a whole checkpoint of the package's 24 kHz model ({first_line(error)}); {SUPPORTED}"
        ) from error
    levels = model.quantizer.vq.layers
    # transformers' defaults describe this very model.
    parts = Parts(model.encoder.model, model.decoder.model, levels, [one.codebook for one in levels], EncodecConfig())
    return Encodec(parts, name, "", num_codebooks, device, parameter)


def _fetched(encodec: Any, parameter: str) -> Path:
    """The package's own checkpoint in torch's cache, fetched if it is not there."""
    place = Path(torch.hub.get_dir()) / "checkpoints" / FILE
    if place.is_file():
        return place
    url = encodec.model.ROOT_URL + FILE
    try:
        # Asked first because torch's client waits without a limit.
        urllib.request.urlopen(url, timeout=HUB_TIMEOUT_S).close()
        place.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(place), hash_prefix=DIGEST, progress=False)
    except Exception as error:  # no network, no such file, another sha256, no place
        raise UserError(
            f"{parameter}: {NAME!r} is not at {place}, and could not be fetched ({first_line(error)}); put {FILE} there, or "
            "name its path"
        ) from error
    return place
