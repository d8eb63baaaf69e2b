"""The listening page and its pictures, from files alone: no tracking server is asked."""

import torch

from musicgen_lite import audio, codec
from musicgen_lite.codec.base import Codec
from musicgen_lite.params import Params
from musicgen_lite.report.page import Entry, PageData, Sound, listening_page, sound
from musicgen_lite.report.tables import charts
from musicgen_lite.sources.clips import ClipStore
from musicgen_lite.store import atomic_dir, read_json, write_text
from stages.common import (
    CLIPS,
    REPORT,
    RUN,
    SAMPLES,
    run,
    set_up_torch,
)
from stages.corpus import window
from stages.results import curves, details, tables

SHOWN = 12  # test prompts on the page


def facts(params: Params, record: dict) -> tuple[tuple[str, str], ...]:
    """What a reader must know of a run before listening."""
    decoder, own = params.model.decoder, params.sample
    return (
        ("model", f"{params.model.type.upper()}, {params.model.pattern}"),
        ("size", f"{record['training']['parameters']:,} parameters, d {decoder.d_model}, {decoder.layers} layers"),
        ("trained", f"{record['training']['best_step']} steps of {params.train.effective_batch_size} clips"),
        ("data", params.data.source),
        ("guidance", f"{own.guidance:g}, best of {own.candidates}, temperature {own.temperature:g}, top-k {own.top_k}"),
        ("commit", record["tags"].get("train.commit", "none")[:10]),
        ("seed", str(params.seed)),
    )


def entries(params: Params, decoder: Codec) -> list[Entry]:
    """Every shown prompt with its sounds: generated, real, through the codec; for B what the audio prompt adds."""
    samples, clips = ClipStore(SAMPLES), ClipStore(CLIPS)
    seconds, start = params.sample.seconds, params.data.prompt_seconds
    real, prompt = window(clips, decoder.rate, start, seconds), window(clips, decoder.rate, 0.0, start)
    top_hz = decoder.rate / 2

    def made(name: str, kind: str, prompt_id: str, main: bool) -> Sound:
        rows = samples.index[(samples.index["x_kind"] == kind) & (samples.index["track_id"] == prompt_id)]
        picked = rows[rows["x_picked"]].iloc[0]
        scores = tuple(rows.sort_values("x_candidate")["x_score"])
        data = samples.audio_bytes(picked["id"])
        return sound(name, data, seconds, top_hz, main=main, candidates=scores, picked=int(picked["x_candidate"]))

    def given(name: str, samples_rate: tuple, note: str = "") -> Sound:
        return sound(name, audio.encode_flac(*samples_rate), seconds, top_hz, note=note)

    def through_codec(clip: str) -> tuple:
        with torch.inference_mode():
            return decoder.decode(decoder.encode(torch.from_numpy(real(clip)[0])[None]))[0].numpy(), decoder.rate

    found = []
    for kind, limit in (("fixed", None), ("text", SHOWN)):
        rows = samples.index[(samples.index["x_kind"] == kind) & samples.index["x_picked"]].head(limit or len(samples))
        for row in rows.to_dict("records"):
            clip = row["track_id"]
            sounds = [made("generated", kind, clip, main=True)]
            if kind == "text":
                sounds += [given("real clip", real(clip)), given("real clip through the codec", through_codec(clip))]
                if params.model.type == "b":
                    sounds.append(given("audio prompt", prompt(clip), note="the first seconds of the real clip"))
                    sounds.append(made("generated with the audio prompt", "prompt", clip, main=True))
            found.append(Entry(clip, row["caption"], tuple(sounds), fixed=kind == "fixed"))
    return found


def main(params: Params) -> None:
    set_up_torch(params.compute)
    decoder = codec.load(params.codec.name, params.codec.num_codebooks)
    record, (nll, _), count = read_json(RUN), details(), params.codec.num_codebooks
    shown = entries(params, decoder)
    page = PageData(
        title=record["name"], model=f"MusicGen-Lite model {params.model.type.upper()}", facts=facts(params, record),
        tables=tables(count), charts=charts(curves(), nll, count), entries=tuple(shown), prompts=params.sample.prompts,
    )  # fmt: skip
    with atomic_dir(REPORT) as part:
        write_text(part / "index.html", listening_page(page, limit=SHOWN))
        for picture in page.charts:
            (part / f"{picture.title.lower()}.png").write_bytes(picture.light)
        for entry in shown:
            (part / f"spectrogram-{entry.id}.png").write_bytes(entry.sounds[0].picture)
            (part / f"sample-{entry.id}.flac").write_bytes(entry.sounds[0].flac)
    print(f"listening page: {REPORT / 'index.html'}")


if __name__ == "__main__":
    run(main)
