"""MusicGen-Lite: text-to-music language models over EnCodec tokens."""

__version__ = "0.1.0"
