"""The figures by which runs are compared: where each lies in a row, which way is better, what makes two of them comparable."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from musicgen_lite.report.page import Score

if TYPE_CHECKING:
    from musicgen_lite.tracking import Result

Better = Literal["higher", "lower", ""]
PROMPTED = "_prompted"
CODEBOOK = re.compile(r"^nll_q(\d+)$")
# What a group of figures is measured with: names of it, and where they lie in the notes of a stage's details.
Ruler = Mapping[str, tuple[str, tuple[str, ...]]]
CLIPS = {"prompts or real clips": ("audio", ("clap", "sets", "real", "digest"))}
NLL: Ruler = {"codec": ("nll", ("codec",)), "held-out codes": ("nll", ("nll", "digest"))}


def _space(name: str) -> Ruler:
    return CLIPS | {
        f"embedder ({name})": ("audio", (name, "fingerprint")),
        "reference": ("audio", (name, "reference", "digest")),
    }


def _model(name: str) -> Ruler:
    return CLIPS | {f"{name} model": ("audio", (f"{name}_model", "fingerprint"))}


@dataclass(frozen=True)
class ByPrompt:
    """Per-prompt values of a figure: `values` takes its table and gives NaN where a prompt has none.

    With `weights` (a column) the figure is the sum of weighted values over the sum of weights, without their mean. The
    values of a `share` are 0 and 1.
    """

    table: str
    values: Callable[[pd.DataFrame], pd.Series]
    weights: str = ""
    share: bool = False


@dataclass(frozen=True)
class Figure:
    """A figure by the short name of its metric column."""

    key: str
    label: str
    better: Better = ""
    ruler: Ruler | None = None
    by_prompt: ByPrompt | None = None


def model_name(params: Mapping[str, str]) -> str:
    """The model of a row, by its parameters: "model A, delay", or "MusicGen facebook/musicgen-small, delay"."""
    kind = params.get("model.type", "?")
    name = f"MusicGen {params.get('model.name', '?')}" if kind == "musicgen" else f"model {kind.upper()}"
    return f"{name}, {params.get('model.pattern', '?')}"


def _own(table: pd.DataFrame) -> pd.Series:
    return table["own"]


def _over_random(table: pd.DataFrame) -> pd.Series:
    return table["own"] - table.filter(regex=r"^candidate_\d+$").mean(axis=1)


def _over_another(table: str) -> ByPrompt:
    return ByPrompt(table, lambda t: t["own"] - t["shuffled"])


def _share(table: str, holds: Callable[[pd.DataFrame], pd.Series]) -> ByPrompt:
    return ByPrompt(table, lambda t: holds(t).astype(float), share=True)


def _stated(column: str) -> ByPrompt:
    return ByPrompt("signals", lambda t: t[column].astype(float).where(t["stated_bpm"].notna()), share=True)


def _nll(values: Callable[[pd.DataFrame], pd.Series]) -> ByPrompt:
    return ByPrompt("nll", values, "frames")


DISTANCES = {
    f"{title}{suffix}": (space, f"{name}, {label}")
    for title, name in (("fad", "FAD"), ("fad_inf", "FAD-infinity"), ("kad", "KAD"))
    for space, suffix, label in (("clap", "", "CLAP"), ("codec", "_codec", "codec latents"), ("mel", "_mel", "mel statistics"))
}  # fmt: skip
LIKELIHOOD = (
    Figure("nll", "NLL, nats a code", "lower", NLL, _nll(lambda t: t["caption"])),
    Figure("nll_prompt", "NLL with the audio prompt", "lower", NLL, _nll(lambda t: t["caption+prompt"])),
    Figure("ppl", "perplexity", "lower", NLL),
    Figure("bps", "bits per second of audio", "lower", NLL),
    Figure("caption_gain", "NLL saved by its caption over another's", "higher", NLL,
           _nll(lambda t: t["shuffled"] - t["caption"])),
    Figure("prompt_gain", "NLL saved by its audio prompt over another's", "higher", NLL,
           _nll(lambda t: t["caption+shuffled_prompt"] - t["caption+prompt"])),
)  # fmt: skip
AUDIO = (
    Figure("clap", "CLAP with its caption", "higher", _model("clap"), ByPrompt("clap", _own)),
    Figure("clap_gain", "CLAP with its caption over another's", "higher", _model("clap"), _over_another("clap")),
    Figure("clap_n1", "CLAP without picking", "higher", _model("clap"), ByPrompt("clap", lambda t: t["candidate_0"])),
    Figure("clap_r1", "CLAP R@1", "higher", _model("clap"), _share("clap", lambda t: t["rank"] == 1)),
    Figure("clap_r10", "CLAP R@10", "higher", _model("clap"), _share("clap", lambda t: t["rank"] <= 10)),
    Figure("judge", "CLAP by the judge, which did not pick", "higher", _model("judge"), ByPrompt("judge", _own)),
    Figure("judge_gain", "picked over a random one, by the judge", "higher", _model("judge"),
           ByPrompt("judge", _over_random)),
    *(Figure(key, label, "lower", _space(space)) for key, (space, label) in DISTANCES.items()),
    Figure("tempo", "stated tempo kept within 5 %", "higher", CLIPS, _stated("tempo_hit")),
    Figure("tempo_octaves", "the same, its half or double too", "higher", CLIPS, _stated("tempo_hit_octaves")),
    Figure("diversity", "diversity of the candidates", "", _model("clap")),
    Figure("memorised", "share nearer to a training clip than real ones", "lower", _model("clap")),
    Figure("silent", "share of silent clips", "lower", CLIPS, _share("signals", lambda t: t["silent"])),
    Figure("clipping", "share of clipping clips", "lower", CLIPS, _share("signals", lambda t: t["clipped"] > 0)),
)  # fmt: skip
# Only samples that heard an audio prompt have these, so that their names need no suffix.
LIKENESS = (
    Figure("prompt_sim", "CLAP with the audio prompt", "higher", _model("clap"),
           ByPrompt(f"prompt_similarity{PROMPTED}", _own)),
    Figure("prompt_sim_gain", "the same, own over another's", "higher", _model("clap"),
           _over_another(f"prompt_similarity{PROMPTED}")),
    Figure("chroma_gain", "chroma of the audio prompt, own over another's", "higher", CLIPS,
           _over_another(f"chroma{PROMPTED}")),
)  # fmt: skip
YARDSTICKS = {
    "nll_unigram": "NLL, unigram", "nll_bigram": "NLL, bigram", "nll_none": "NLL without a caption",
    "nll_shuffled": "NLL with another's caption", "clap_shuffled": "CLAP with another's caption",
    "clap_shuffled_prompted": "CLAP with another's caption, with the audio prompt",
} | {
    f"{key}_{short}": f"{label}: {name}"
    for key, label in {"clap": "CLAP", "tempo": "tempo kept", **{key: label for key, (_, label) in DISTANCES.items()}}.items()
    for short, name in (("real", "real clips"), ("recon", "through the codec"), ("noise", "noise"))
}  # fmt: skip


def prompted(figure: Figure) -> Figure:
    """The same figure of the samples that heard an audio prompt."""
    own = figure.by_prompt
    moved = replace(own, table=f"{own.table}{PROMPTED}") if own else None
    return replace(figure, key=f"{figure.key}{PROMPTED}", by_prompt=moved)


GROUPS: dict[str, tuple[Figure, ...]] = {
    "Likelihood": LIKELIHOOD,
    "Generated from the caption": AUDIO,
    "Generated from caption and audio prompt": (*map(prompted, AUDIO), *LIKENESS),
    "What they are measured against": tuple(Figure(key, label) for key, label in YARDSTICKS.items()),
}


def score(run: "Result", key: str) -> Score | None:
    """A figure of a row with its interval, or None where the row has none of this name."""
    for details in run.scores.values():
        if key in details["columns"]:
            found = details["estimates"][details["columns"][key]]
            return Score(found["value"], found.get("low"), found.get("high"), found.get("n"))
    return Score(run.metrics[key]) if key in run.metrics else None


def columns(run: "Result") -> list[str]:
    """The short names of all scores of a row."""
    return [key for details in run.scores.values() for key in details["columns"]]


def codebooks(runs: "list[Result]") -> list[Figure]:
    """NLL of each codebook that one of the rows has."""
    keys = dict.fromkeys(key for run in runs for key in columns(run) if CODEBOOK.match(key))
    return [Figure(key, CODEBOOK.sub(r"NLL, codebook \1", key), "lower", NLL) for key in keys]


def others(runs: "list[Result]") -> list[Figure]:
    """Scores of the rows that no group knows: shown by their short names, so that none is dropped."""
    known = {figure.key for figures in GROUPS.values() for figure in figures}
    keys = dict.fromkeys(key for run in runs for key in columns(run))
    return [Figure(key, key) for key in keys if key not in known and not CODEBOOK.match(key)]


def unlike(figure: Figure, first: "Result", other: "Result") -> str:
    """Why a figure of two rows does not compare, in words; empty where it does."""
    for what, (stage, path) in (figure.ruler or {}).items():
        a, b = (_at(run.scores[stage]["notes"], path, figure) for run in (first, other))
        if a is None or b is None:
            silent = first if a is None else other
            return f"{silent.name} does not say its {what}"
        if a != b:
            return f"not the same {what} ({a} and {b})"
    return ""


def _at(notes: Any, path: tuple[str, ...], figure: Figure) -> Any:
    """A note; those of samples that heard an audio prompt carry the suffix too."""
    head = f"{path[0]}{PROMPTED}" if figure.key.endswith(PROMPTED) else path[0]
    found = notes.get(head)
    for key in path[1:]:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
