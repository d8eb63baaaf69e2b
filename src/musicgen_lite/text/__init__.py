"""Captions as sequences of vectors: a T5 encoder behind one small class."""

from musicgen_lite.text.encoder import TextEncoder, load

__all__ = ["TextEncoder", "load"]
