"""The listening page and its pictures, from files alone: no tracking server is asked."""

import pandas as pd
import torch

from musicgen_lite import codec
from musicgen_lite.codec.base import Codec
from musicgen_lite.io import audio
from musicgen_lite.io.clips import ClipStore
from musicgen_lite.io.files import atomic_dir, atomic_path, read_json, write_table, write_text
from musicgen_lite.io.windows import ClipWindows, Windows
from musicgen_lite.params import Params
from musicgen_lite.report import mp3
from musicgen_lite.report.figures import model_name
from musicgen_lite.report.page import SOUNDS, Entry, PageData, listening_page, sound
from musicgen_lite.report.results import ScoreFolders, read_curves
from musicgen_lite.report.tables import charts
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

SHOWN = 12  # test prompts on the page


def facts(params: Params, record: dict) -> tuple[tuple[str, str], ...]:
    """What a reader must know of a run before listening."""
    own, training = params.sample, record["training"]
    size, trained = f"{training['parameters']:,} parameters", f"not here: {training.get('published')}"
    if "published" not in training:
        decoder = params.model.decoder
        size += f", d {decoder.d_model}, {decoder.layers} layers"
        trained = f"{training['best_step']} steps of {params.train.effective_batch_size} clips"
    return (
        ("model", model_name(record["params"]).removeprefix("model ")),
        ("size", size),
        ("trained", trained),
        ("data", params.data.source),
        ("guidance", f"{own.guidance:g}, best of {own.candidates}, temperature {own.temperature:g}, top-k {own.top_k}"),
        ("commit", record["tags"].get("train.commit", "none")[:10]),
        ("seed", str(params.seed)),
    )


def sounds(params: Params, decoder: Codec) -> pd.DataFrame:
    """Every prompt's sounds as FLAC, one row a sound, in the order in which they are shown: fixed prompts first, then test prompts.

    Columns: prompt, caption, fixed, kind, flac; for generated ones the candidates' scores and which was picked.
    """
    samples, clips = ClipStore(SAMPLES), ClipStore(CLIPS)
    windows = Windows(decoder.rate, params.data.prompt_seconds, params.data.seconds, params.sample.seconds)
    heard = ClipWindows(clips, windows)
    real, prompt = heard.target, heard.prompt

    def made(kind: str, prompt_id: str) -> dict:
        rows = samples.index[(samples.index["x_kind"] == kind) & (samples.index["track_id"] == prompt_id)]
        picked = rows[rows["x_picked"]].iloc[0]
        scores = rows.sort_values("x_candidate")["x_score"].tolist()
        return {"flac": samples.audio_bytes(picked["id"]), "candidates": scores, "picked": int(picked["x_candidate"])}

    def given(samples_rate: tuple) -> dict:
        return {"flac": audio.encode_flac(*samples_rate), "candidates": [], "picked": 0}

    def through_codec(clip: str) -> tuple:
        with torch.inference_mode():
            return decoder.decode(decoder.encode(torch.from_numpy(real(clip)[0])[None]))[0].numpy(), decoder.rate

    found = []
    for kind in ("fixed", "text"):
        rows = samples.index[(samples.index["x_kind"] == kind) & samples.index["x_picked"]]
        for clip, caption in zip(rows["track_id"], rows["caption"], strict=True):
            parts = {"generated": made(kind, clip)}
            if kind == "text":
                parts |= {"real": given(real(clip)), "codec": given(through_codec(clip))}
                if params.model.type == "b":
                    parts |= {"prompt": given(prompt(clip)), "prompted": made("prompt", clip)}
            same = {"prompt": clip, "caption": caption, "fixed": kind == "fixed"}
            found += [{**same, "kind": name, **part} for name, part in parts.items()]
    return pd.DataFrame(found)


def as_mp3(flac: bytes) -> bytes:
    """A sound as the row keeps it for the comparison page."""
    return mp3.encode(*audio.decode(flac))


def entries(table: pd.DataFrame, seconds: float, top_hz: float) -> list[Entry]:
    """The fixed and the first test prompts with their sounds and spectrograms."""
    tests = table.loc[~table["fixed"], "prompt"].drop_duplicates().head(SHOWN)
    found = []
    for (clip, caption, fixed), rows in table.groupby(["prompt", "caption", "fixed"], sort=False):
        if not fixed and clip not in set(tests):
            continue
        parts = tuple(
            sound(
                SOUNDS[row["kind"]], row["flac"], seconds, top_hz,
                note="the first seconds of the real clip" if row["kind"] == "prompt" else "",
                main=row["kind"] in ("generated", "prompted"), candidates=tuple(row["candidates"]), picked=row["picked"],
            )
            for row in rows.to_dict("records")
        )  # fmt: skip
        found.append(Entry(str(clip), str(caption), parts, fixed=bool(fixed)))
    return found


def main(params: Params) -> None:
    set_up_torch(params.compute)
    decoder = codec.load(
        resolve_model_path(params.codec.name), num_codebooks=params.codec.num_codebooks, trusted=params.trusted_pickles
    )
    record, results, count = read_json(RUN), ScoreFolders(*SCORES), params.codec.num_codebooks
    heard = sounds(params, decoder)
    shown = entries(heard, params.sample.seconds, decoder.rate / 2)
    page = PageData(
        title=record["name"], model=f"MusicGen-Lite: {model_name(record['params'])}", facts=facts(params, record),
        tables=results.tables(count), charts=charts(read_curves(CURVES), results.details()[0], count), entries=tuple(shown), prompts=params.sample.prompts,
    )  # fmt: skip
    with atomic_dir(REPORT) as part:
        write_text(part / "index.html", listening_page(page, limit=SHOWN))
        write_table(part / "sounds.parquet", heard.drop(columns="flac").assign(sound=heard["flac"].map(as_mp3)))
        for entry in shown:
            (part / f"spectrogram-{entry.id}.png").write_bytes(entry.sounds[0].picture)
            (part / f"sample-{entry.id}.flac").write_bytes(entry.sounds[0].flac)
    for picture in page.charts:
        with atomic_path(PLOTS / f"{picture.title.lower()}.png") as part:
            part.write_bytes(picture.light)
    print(f"listening page: {REPORT / 'index.html'}")


if __name__ == "__main__":
    run(main)
