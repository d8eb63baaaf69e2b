"""CLAP, the model that scores how well audio fits a caption: `load` gives a `ClapScorer`, of which scores need what the protocol `Clap` says."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from musicgen_lite.clap.base import Clap
from musicgen_lite.clap.scorer import ClapScorer

if TYPE_CHECKING:
    import torch

__all__ = ["Clap", "ClapScorer", "load"]


def load(
    name: str,
    *,
    device: "str | torch.device" = "cpu",
    trusted: Collection[str] = (),
    parameter: str = "score.clap",
) -> ClapScorer:
    """The CLAP called `name`, in float32 on `device`, in evaluation mode.

    name: `embedded` or `judge` (shipped with the package), a directory, a hub name, or a LAION checkpoint, a file that ends
    in .pt, which the laion-clap package runs. See `pretrained.locate` for names and `trusted`, which adds to the known LAION
    checkpoints (`clap.checkpoint.KNOWN`). Raises UserError naming `parameter` where the model is unknown, out of reach,
    or its files are missing or damaged.
    """
    from musicgen_lite.clap import hub, laion

    backend = laion if Path(name).suffix == laion.SUFFIX else hub
    return backend.load(name, device=device, trusted=trusted, parameter=parameter)
