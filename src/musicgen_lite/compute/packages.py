"""The packages that every worker must have as the stage has them."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

# What may change a result without changing this project's code.
PACKAGES = (
    "librosa",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "soundfile",
    "soxr",
    "tokenizers",
    "torch",
    "transformers",
)


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """The version of each package without build tags such as +cpu; `none` for one that is not installed."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            found[name] = "none"
    return found
