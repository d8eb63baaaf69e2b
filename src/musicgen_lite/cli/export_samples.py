"""`musicgen-lite export-samples`."""

from pathlib import Path
from typing import Annotated

import typer


def export_samples(
    folder: Annotated[Path, typer.Argument(help="The folder to write; it must not hold anything.", show_default=False)],
    samples: Annotated[Path, typer.Option(help="The samples that the pipeline made.")] = Path("data/samples"),
    rate: Annotated[int, typer.Option(help="Sampling rate of the files in Hz.")] = 44100,
) -> None:
    """Write one WAV file for each prompt of the pipeline's samples, named by the prompt's id, as a challenge takes them."""
    from musicgen_lite import submission
    from musicgen_lite.export import check_folder
    from musicgen_lite.io.samples import SampleStore

    submission.check_rate(rate)
    check_folder(folder)
    store = SampleStore(samples)
    found = submission.chosen(store, samples)
    if (candidates := submission.reranked(store, found)) > 1:
        typer.echo(
            f"warning: each file is the best of {candidates} by CLAP; where one generation a prompt is allowed, set "
            "sample.candidates to 1 and run `dvc repro sample`",
            err=True,
        )
    submission.write(folder, store, found, rate)
    print(f"{folder}: {len(found)} files at {rate} Hz, and {submission.TABLE}, which says what prompt each is for")
