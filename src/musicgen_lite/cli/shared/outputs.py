"""Where generated music goes: a file, standard output, or a folder for many prompts."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from musicgen_lite.errors import UserError

if TYPE_CHECKING:  # torch takes seconds to load
    from musicgen_lite.batch import Row
    from musicgen_lite.generator import Generator, Music
    from musicgen_lite.request import Request
    from musicgen_lite.streaming import Stream

STDOUT = Path("-")


def check_output(output: Path, many: bool, candidates: int | None, read: Sequence[Path | None]) -> None:
    """Raise UserError where nothing can be written, before a model is loaded."""
    from musicgen_lite import batch
    from musicgen_lite.io import audio, files

    if output == STDOUT:
        if many:
            raise UserError("-o -: many prompts are written to a folder; name one")
        if candidates not in (None, 1):
            raise UserError(
                f"candidates: found {candidates}; with -o - the first is heard while it is made: leave it out"
            )
        if sys.stdout.isatty():
            raise UserError(
                "-o -: this is a terminal; pipe it into a player, as in `musicgen-lite generate … -o - | aplay`"
            )
    elif many:
        batch.check_folder(output)
    else:
        files.check_place(output, *read)  # first, so that a folder is named as one
        audio.check_place(output, *read)


def to_stdout(stream: "Stream[Music]") -> None:
    """Write a WAV to standard output while it is made; what others print there goes to standard error."""
    from musicgen_lite import wav

    out, sys.stdout = sys.stdout.buffer, sys.stderr
    try:
        for number, samples in enumerate(stream):
            out.write((b"" if number else wav.header(stream.rate, stream.samples)) + wav.pcm(samples))
            out.flush()
    except BrokenPipeError:
        stream.close()
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())  # else Python complains as it ends
        print("standard output was closed by its reader: stopped", file=sys.stderr)
        raise typer.Exit(1) from None
    assert stream.result is not None, "nobody else closes it"
    print(_summary(stream.result), file=sys.stderr)


def to_file(music: "Music", output: Path) -> None:
    """Write the picked candidate, and print the scores of all."""
    music.write(output)
    for number, score in enumerate(music.scores):
        told = f", {music.tempos[number]:.0f} BPM" if music.tempos else ""
        print(f"candidate {number}: CLAP {score:.3f}{told}{'  picked' if number == music.picked else ''}")
    print(f"{output}: {_summary(music)}")


def _summary(music: "Music") -> str:
    return f"{len(music.samples) / music.rate:.1f} s, {music.real_time_factor:.2f}x real time"


def to_folder(
    generator: "Generator", rows: Sequence["Row"], source: Path, folder: Path, candidates: int, options: dict[str, Any]
) -> None:
    """Write the music of many prompts with its index, going on where an earlier run stopped."""
    from musicgen_lite import batch
    from musicgen_lite.io.hashing import file_sha256

    batch.check_rows(source, rows, lambda request: generator.check(request, candidates))
    clips = {name: file_sha256(options[name]) for name in ("style", "continued") if options[name] is not None}
    settings = {**vars(options["sampling"]), **clips, **generator.identity(), "candidates": candidates}

    def make(requests: Sequence["Request"]) -> "list[Music]":
        return generator.generate_all(requests, candidates=candidates, progress=True, **options)

    batch.make_all(rows, folder, settings, candidates, make, print)
    print(f"{folder / batch.INDEX}: what is in which file, with its score")
