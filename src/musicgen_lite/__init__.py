"""MusicGen-Lite: text-to-music language models over EnCodec tokens."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from musicgen_lite.generator import Generator

__version__ = "0.2.0"


def load(*arguments: Any, **options: Any) -> "Generator":
    """A trained model, ready to generate: see `musicgen_lite.generator.load`."""
    from musicgen_lite import generator  # imports torch

    return generator.load(*arguments, **options)
