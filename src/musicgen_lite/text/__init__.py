"""Captions as sequences of vectors: a T5 encoder behind one small class, and what else a clip can be described by."""

from musicgen_lite.text.encoder import TextEncoder, batches, load, tokenizer
from musicgen_lite.text.legible import remark

__all__ = ["TextEncoder", "batches", "load", "remark", "tokenizer"]
