"""Mean and covariance of a reference in a file, as fadtk and others publish them: a distance without the audio."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from musicgen_lite.errors import UserError
from musicgen_lite.io.hashing import file_sha256
from musicgen_lite.scoring.audio.embeddings import Embedder
from musicgen_lite.scoring.audio.fad import NEGATIVE, Moments

SUFFIX = ".npz"
MEAN, COVARIANCES = "mu", ("cov", "sigma")


@dataclass(frozen=True)
class Statistics:
    """Moments of a reference set; `model` is what the file calls its embedder, "" where it does not say."""

    path: Path
    sha256: str
    model: str
    moments: Moments

    @property
    def dim(self) -> int:
        """Length D of the embeddings."""
        return len(self.moments.mean)

    def check(self, embedder: Embedder) -> None:
        """Raise UserError unless the embedder's vectors have as many numbers."""
        if self.dim != embedder.dim:
            made_by = f" by {self.model}" if self.model else ""
            raise UserError(
                f"{self.path}: statistics{made_by} of {self.dim} dimensions, but the space {embedder.name} has "
                f"{embedder.dim}; name the model that made them: LAION's CLAPs (fadtk's clap-laion-music) have 512 and are "
                "named by --clap, another space by --space"
            )


def read(path: Path, model: str = "") -> Statistics:
    """Read a `.npz` of arrays `mu` `[D]` and `cov` (or `sigma`) `[D, D]`, or of several models' `{model}.mu` and `{model}.cov`.

    model: which of several to take. Raises UserError naming what is missing or is not a mean and a covariance.
    """
    if path.is_file() and not zipfile.is_zipfile(path):  # numpy would take it for an array or a pickle
        raise UserError(
            f"{path}: not a .npz of statistics that can be read (no archive of arrays); mu and cov are needed"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: not a .npz of statistics that can be read ({error})") from error
    chosen = _choose(path, _models(arrays), model)
    prefix = f"{chosen}." if chosen else ""
    covariance = next(arrays[name] for end in COVARIANCES if (name := f"{prefix}{end}") in arrays)
    return Statistics(path, file_sha256(path), chosen, _moments(path, arrays[f"{prefix}{MEAN}"], covariance))


def _models(arrays: dict[str, np.ndarray]) -> list[str]:
    """The models whose mean and covariance are there; "" for one without a name."""
    prefixes = [name.removesuffix(MEAN) for name in arrays if name == MEAN or name.endswith(f".{MEAN}")]
    return [one.rstrip(".") for one in prefixes if any(f"{one}{end}" in arrays for end in COVARIANCES)]


def _choose(path: Path, models: list[str], wanted: str) -> str:
    if not models:
        raise UserError(f"{path}: holds no mean and covariance; arrays mu and cov are needed, as fadtk writes them")
    if wanted and wanted not in models:
        raise UserError(f"{path}: holds no statistics by {wanted!r}, but by {', '.join(map(repr, models))}")
    if not wanted and len(models) > 1:
        raise UserError(f"{path}: holds statistics by {', '.join(models)}; choose one with --stats-model")
    return wanted or models[0]


def _moments(path: Path, mean: np.ndarray, covariance: np.ndarray) -> Moments:
    size = mean.size
    if mean.ndim != 1 or not size or covariance.shape != (size, size):
        raise UserError(f"{path}: mu has shape {mean.shape} and cov {covariance.shape}; [D] and [D, D] are needed")
    if {mean.dtype.kind, covariance.dtype.kind} - set("fiu"):
        raise UserError(f"{path}: mu and cov hold {mean.dtype} and {covariance.dtype}; real numbers are needed")
    mean, covariance = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise UserError(f"{path}: holds NaN or infinite numbers")
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    apart = np.abs(covariance - covariance.T).max()
    if values[0] < -NEGATIVE * values.sum() or apart > NEGATIVE * np.abs(covariance).max():
        raise UserError(
            f"{path}: cov is not a covariance: not symmetric, or with a negative variance ({values[0]:.3g})"
        )
    return Moments(mean, np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T)
