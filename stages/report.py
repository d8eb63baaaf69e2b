"""The listening page and its pictures, from files alone: no tracking server is needed."""

import numpy as np
import torch

from musicgen_lite import codec
from musicgen_lite.io.clips import ClipStore
from musicgen_lite.io.files import atomic_dir, read_json
from musicgen_lite.io.samples import SampleStore
from musicgen_lite.io.windows import ClipWindows, Windows
from musicgen_lite.params import Params
from musicgen_lite.report.listening import page_entries, page_sounds, run_facts, write_page, write_plots
from musicgen_lite.report.page import PageData
from musicgen_lite.report.results import ScoreFolders, read_curves
from musicgen_lite.report.run_metrics import model_name
from musicgen_lite.report.tables import charts, no_charts
from stages.runtime import (
    CLIPS,
    CURVES,
    PLOTS,
    REPORT,
    RUN,
    SAMPLES,
    SCORES,
    resolve_model_path,
    run,
    set_up_torch,
)


def main(params: Params) -> None:
    set_up_torch(params.compute)
    encodec = codec.load(
        resolve_model_path(params.codec.name), num_codebooks=params.codec.num_codebooks, trusted=params.trusted_pickles
    )

    def reconstruct(wave: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return encodec.decode(encodec.encode(torch.from_numpy(wave)[None]))[0].numpy()

    record, results, count = read_json(RUN), ScoreFolders(*SCORES), params.codec.num_codebooks
    windows = Windows(encodec.rate, params.data.prompt_seconds, params.data.seconds, params.sample.seconds)
    sounds = page_sounds(SampleStore(SAMPLES), ClipWindows(ClipStore(CLIPS), windows), reconstruct, encodec.rate)
    drawn = charts(read_curves(CURVES), results.details()[0], count)
    page = PageData(
        title=record["name"],
        model=f"MusicGen-Lite: {model_name(record['params'])}",
        facts=run_facts(record, params.sample, params.train, params.model.decoder, params.data.source, params.seed),
        tables=results.tables(count),
        charts=drawn,
        entries=page_entries(sounds, params.sample.seconds, encodec.rate / 2),
        prompts=params.sample.prompts,
        headline=results.headline(),
    )
    with atomic_dir(REPORT) as part:
        write_page(part, page, sounds)
    write_plots(PLOTS, drawn or no_charts(results.details()[0]))
    print(f"listening page: {REPORT / 'index.html'}")


if __name__ == "__main__":
    run(main)
