"""The content of the listening page: the facts of a run, its sounds, and the prompts with their players."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from musicgen_lite.io import audio
from musicgen_lite.io.files import atomic_path, write_table, write_text
from musicgen_lite.io.samples import Kind, Sample, SampleStore
from musicgen_lite.io.windows import ClipWindows
from musicgen_lite.params import DecoderParams, SampleParams, TrainParams
from musicgen_lite.report import mp3
from musicgen_lite.report.page import PROMPTS, SOUNDS, Chart, Entry, PageData, listening_page, sound
from musicgen_lite.report.run_metrics import model_name

Facts = tuple[tuple[str, str], ...]
Reconstruct = Callable[[np.ndarray], np.ndarray]
"""Samples `[T]` at the codec's rate through the codec."""


def run_facts(
    record: dict[str, Any],
    sample: SampleParams,
    train: TrainParams,
    decoder: DecoderParams | None,
    source: str,
    seed: int,
) -> Facts:
    """The facts of a run that its page begins with; `decoder` is None for a model of others, whose sizes are its own."""
    training = record["training"]
    size = f"{training['parameters']:,} parameters" if "parameters" in training else "size unknown"
    size += f", d {decoder.d_model}, {decoder.layers} layers" if decoder else ""
    others = training.get("published") or training.get("external")
    trained = (
        f"not here: {others}" if others else f"{training['best_step']} steps of {train.effective_batch_size} clips"
    )
    if not others and train.init:
        trained += f", LoRA of rank {train.lora.rank}" if train.lora.rank and train.steps else ""
        trained += f", from {train.init}"
    return (
        ("model", model_name(record["params"]).removeprefix("model ")),
        ("size", size),
        ("trained", trained),
        ("data", source),
        ("guidance", _sampling(record["params"], sample)),
        ("commit", record["tags"].get("train.commit", "none")[:10]),
        ("seed", str(seed)),
    )


def _sampling(params: Mapping[str, str], sample: SampleParams) -> str:
    """How a run was sampled; a pipeline of diffusers by its own parameters, which may leave it the choice: null."""
    kind = params["model.type"]
    if kind == "external":
        return "unknown"
    if kind == "diffusers":
        guidance, steps = (params[f"model.{name}"].replace("null", "its own") for name in ("guidance", "steps"))
        return f"{guidance}, best of {sample.candidates}, denoising steps {steps}"
    return f"{sample.guidance:g}, best of {sample.candidates}, temperature {sample.temperature:g}, top-k {sample.top_k}"


def page_sounds(samples: SampleStore, windows: ClipWindows, reconstruct: Reconstruct, rate: int) -> pd.DataFrame:
    """The sounds of every prompt as FLAC, one row per sound, in the order of the page: fixed prompts, then test prompts.

    Columns: prompt, caption, fixed, kind, flac; for generated ones the candidates' scores, which was picked, and bpm, the tempo
    that the model was told, NaN where it was told none.
    rate: that of the codec, in Hz.
    """

    def generated(picked: Sample) -> dict[str, Any]:
        scores = [one.score for one in samples.candidates(picked.kind, picked.prompt_id)]
        return {"flac": samples.flac(picked), "candidates": scores, "picked": picked.candidate, "bpm": picked.bpm}

    def given(wave: np.ndarray, rate: int) -> dict[str, Any]:
        return {"flac": audio.encode_flac(wave, rate), "candidates": [], "picked": 0, "bpm": None}

    prompted = {one.prompt_id: one for one in samples.picked("prompt")}
    found = []
    kinds: tuple[Kind, ...] = ("fixed", "text")
    for picked in (one for kind in kinds for one in samples.picked(kind)):
        clip, parts = picked.prompt_id, {"generated": generated(picked)}
        if picked.kind == "text" and clip in windows:
            real = windows.target(clip)
            parts |= {"real": given(*real), "codec": given(reconstruct(real[0]), rate)}
        if picked.kind == "text" and clip in prompted:
            parts |= {"prompt": given(*windows.prompt(clip)), "prompted": generated(prompted[clip])}
        same = {"prompt": clip, "caption": picked.caption, "fixed": picked.kind == "fixed"}
        found += [{**same, "kind": name, **part} for name, part in parts.items()]
    return pd.DataFrame(found).astype({"bpm": float})


def page_entries(sounds: pd.DataFrame, seconds: float, top_hz: float) -> tuple[Entry, ...]:
    """The fixed and the first test prompts with their sounds and spectrograms, `seconds` long and up to `top_hz`."""
    tests = set(sounds.loc[~sounds["fixed"], "prompt"].drop_duplicates().head(PROMPTS))
    found = []
    for (clip, caption, fixed), rows in sounds.groupby(["prompt", "caption", "fixed"], sort=False):
        if not fixed and clip not in tests:
            continue
        parts = tuple(
            sound(
                SOUNDS[row["kind"]], row["flac"], seconds, top_hz,
                note=_note(row),
                main=row["kind"] in ("generated", "prompted"), candidates=tuple(row["candidates"]), picked=row["picked"],
            )
            for row in rows.to_dict("records")
        )  # fmt: skip
        found.append(Entry(str(clip), str(caption), parts, fixed=bool(fixed)))
    return tuple(found)


def _note(row: dict[Any, Any]) -> str:
    if row["kind"] == "prompt":
        return "the first seconds of the real clip"
    return f"told {row['bpm']:.0f} BPM" if pd.notna(row["bpm"]) else ""


def write_page(folder: Path, page: PageData, sounds: pd.DataFrame) -> None:
    """Write the page, the first sound and picture of each prompt, and all sounds as MP3 for the comparison, into `folder`."""
    write_text(folder / "index.html", listening_page(page))
    encoded = [mp3.encode(*audio.decode(flac)) for flac in sounds["flac"]]
    write_table(folder / "sounds.parquet", sounds.drop(columns="flac").assign(sound=encoded))
    for entry in page.entries:
        (folder / f"spectrogram-{entry.id}.png").write_bytes(entry.sounds[0].picture)
        (folder / f"sample-{entry.id}.flac").write_bytes(entry.sounds[0].flac)


def write_plots(folder: Path, charts: Sequence[Chart]) -> None:
    """Write each chart as a PNG named by its title."""
    for chart in charts:
        with atomic_path(folder / f"{chart.title.lower()}.png") as part:
            part.write_bytes(chart.light)
