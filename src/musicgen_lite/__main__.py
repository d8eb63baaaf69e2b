"""`python -m musicgen_lite` is the command `musicgen-lite`."""

from musicgen_lite.cli import app

if __name__ == "__main__":
    app(prog_name="musicgen-lite")
