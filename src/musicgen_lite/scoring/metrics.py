"""The registry of metrics: key, estimate, label, direction, headline, and what makes two results comparable.

Whatever else needs to know a metric asks here: the stages for the columns of their details, `dvc exp show` for the headline,
the page and the comparison for labels, directions and groups.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # reading a registry needs no pandas
    import pandas as pd

Direction = Literal["higher", "lower", ""]
Stage = Literal["nll", "reference", "audio"]
# Two results compare where these notes agree: name → stage whose details hold the note, and the path to it.
ComparabilityKey = dict[str, tuple[Stage, tuple[str, ...]]]

NOT_APPLICABLE = "not_applicable"  # the note of a stage whose metrics a run cannot have, with the reason
PROMPTED = "_prompted"  # ends the names of samples that were generated with an audio prompt
CODEBOOK = re.compile(r"^nll_q(\d+)$")


@dataclass(frozen=True)
class ByPrompt:
    """Per-prompt values, for paired differences: `values` takes the table and gives NaN where a prompt has none.

    With `weights` (a column) the metric is the sum of weighted values over the sum of weights, without them their mean.
    The values of a `share` are 0 and 1.
    """

    table: str
    values: "Callable[[pd.DataFrame], pd.Series]"
    weights: str = ""
    share: bool = False


@dataclass(frozen=True)
class MetricSpec:
    """A metric: `key` in metrics/*.json and MLflow, `estimate` in the details of `stage`.

    on_set: the estimate of the same metric on a reference set, where `{}` stands for the name of the set.
    heading: what the column of the metric is headed by, in a table whose title says the rest of the label.
    logged: whether it is a metric of the run in MLflow; the others are shown on the page alone.
    headline: whether `dvc exp show` and `dvc metrics` print it: what one decides between experiments by.
    """

    key: str
    label: str
    better: Direction = ""
    estimate: str = ""
    stage: Stage = "audio"
    comparable_by: ComparabilityKey = field(default_factory=dict)
    by_prompt: ByPrompt | None = None
    headline: bool = False
    logged: bool = True
    on_set: str = ""
    heading: str = ""

    def __post_init__(self) -> None:
        if not self.estimate:
            object.__setattr__(self, "estimate", self.key)


# What has to agree before two values compare.
CLIPS: ComparabilityKey = {"prompts or real clips": ("audio", ("clap", "sets", "real", "digest"))}
TEMPO: ComparabilityKey = CLIPS | {"estimate of the tempo": ("audio", ("signals", "tempo_estimate"))}
TOKENS: ComparabilityKey = {"codec": ("nll", ("codec",)), "held-out tokens": ("nll", ("nll", "digest"))}


def _embedder(space: str) -> ComparabilityKey:
    return CLIPS | {
        f"embedder ({space})": ("audio", (space, "fingerprint")),
        "reference": ("audio", (space, "reference", "digest")),
    }


def _clap(name: str) -> ComparabilityKey:
    return CLIPS | {f"{name} model": ("audio", (f"{name}_model", "fingerprint"))}


def _clip_model(name: str) -> ComparabilityKey:
    return CLIPS | {f"model ({name})": ("audio", (name, "fingerprint"))}


def _column(table: str, name: str = "own") -> ByPrompt:
    return ByPrompt(table, lambda t: t[name])


def _gain(table: str) -> ByPrompt:
    return ByPrompt(table, lambda t: t["own"] - t["shuffled"])


def _over_random(table: str) -> ByPrompt:
    return ByPrompt(table, lambda t: t["own"] - t.filter(regex=r"^candidate_\d+$").mean(axis=1))


def _share(table: str, holds: "Callable[[pd.DataFrame], pd.Series]") -> ByPrompt:
    return ByPrompt(table, lambda t: holds(t).astype(float), share=True)


def _stated(column: str, stated: str) -> ByPrompt:
    return ByPrompt("signals", lambda t: t[column].astype(float).where(t[stated].notna()), share=True)


def _nats(values: "Callable[[pd.DataFrame], pd.Series]") -> ByPrompt:
    return ByPrompt("nll", values, "frames")


def _nll(
    key: str, label: str, estimate: str, better: Direction = "lower", by_prompt: ByPrompt | None = None,
    *, headline: bool = False, logged: bool = True, heading: str = "",
) -> MetricSpec:  # fmt: skip
    return MetricSpec(
        key, label, better, estimate, "nll", TOKENS, by_prompt, headline=headline, logged=logged, heading=heading
    )


def codebook_estimate(estimate: str, codebook: int) -> str:
    """The name of an NLL on one codebook, counted from 1."""
    return f"{estimate}_q{codebook}"


def codebook_metric(codebook: int) -> MetricSpec:
    """The NLL of one codebook, counted from 1."""
    return _nll(f"nll_q{codebook}", f"NLL, codebook {codebook}", codebook_estimate("nll_caption", codebook))


LIKELIHOOD = (
    _nll("nll", "NLL, nats per token", "nll_caption", by_prompt=_nats(lambda t: t["caption"]), headline=True,
         heading="matching caption"),
    _nll("nll_prompt", "NLL with the audio prompt", "nll_caption+prompt",
         by_prompt=_nats(lambda t: t["caption+prompt"]), heading="caption + prompt"),
    _nll("ppl", "perplexity", "perplexity"),
    _nll("bps", "bits per second of audio", "bits_per_second"),
    _nll("caption_gain", "NLL gain, matching over shuffled caption", "nll_caption_gain", "higher",
         _nats(lambda t: t["shuffled"] - t["caption"]), headline=True),
    _nll("text_gain", "NLL gain, caption over none", "nll_text_gain", "higher", logged=False),
    _nll("beat_gain", "NLL gain, beat over none", "nll_beat_gain", "higher",
         _nats(lambda t: t["without_beat"] - t["caption"])),
    _nll("prompt_gain", "NLL gain, matching over shuffled audio prompt", "nll_prompt_gain", "higher",
         _nats(lambda t: t["caption+shuffled_prompt"] - t["caption+prompt"]), headline=True),
    _nll("prompt_over_none", "NLL gain, audio prompt over none", "nll_prompt_over_none", "higher", logged=False),
    _nll("bigram_gain", "NLL gain over bigram", "nll_bigram_gain", "higher", logged=False),
    _nll("copy_gain", "NLL gain over copy", "nll_copy_gain", "higher", logged=False),
)  # fmt: skip

# The spaces in which sets are compared: an embedder's name, what ends the metrics' keys, what a reader calls it.
SPACES = (("clap", "", "CLAP"), ("codec", "_codec", "codec latents"), ("mel", "_mel", "mel statistics"))
# Those of other tools' protocols (`audio.protocols`), and which distances these have.
PROTOCOLS = (
    ("clap_fadtk", "_fadtk", "CLAP, fadtk's protocol"), ("clap_kadtk", "_kadtk", "CLAP, kadtk's protocol, x 100"),
    ("clap_attm", "_attm", "CLAP, ATTM's protocol"), ("vggish_audiocraft", "_audiocraft", "VGGish, audiocraft's protocol"),
)  # fmt: skip
TITLES = {"fad": "FAD", "fad_inf": "FAD-infinity", "kad": "KAD"}
THEIR_TITLES: dict[str, tuple[str, ...]] = {
    "clap_fadtk": ("fad", "fad_inf"), "clap_kadtk": ("kad",), "clap_attm": ("fad",), "vggish_audiocraft": ("fad",),
    "attm": (),  # of the CLAP score, in which clips are compared with captions alone
}  # fmt: skip


def titles(space: str) -> tuple[str, ...]:
    """Which distances are measured in a space."""
    return THEIR_TITLES.get(space, tuple(TITLES))


DISTANCES = tuple(
    MetricSpec(
        f"{title}{suffix}", f"{name}, {label}", "lower", f"{space}_{title}_generated", "audio", _embedder(space),
        headline=f"{title}{suffix}" in ("fad", "fad_codec"), on_set=f"{space}_{title}_{{}}",
    )
    for title, name in TITLES.items()
    for space, suffix, label in SPACES + PROTOCOLS
    if title in titles(space)
)  # fmt: skip

# Of models that take one clip at a time, which `score.passt` and `score.aesthetics` name. KL(p || q) is the mean of log p/q under p.
AXES = {
    "CE": "content enjoyment",
    "CU": "content usefulness",
    "PC": "production complexity",
    "PQ": "production quality",
}
CLIP_MODELS = (
    *(
        MetricSpec(key, f"KL-PaSST, KL({direction})", "lower", comparable_by=_clip_model("passt"),
                   by_prompt=_column("passt", key), on_set=f"{key}_{{}}")
        for key, direction in (("kl_passt", "real || generated"), ("kl_passt_reversed", "generated || real"))
    ),
    *(
        MetricSpec(key, f"{title} ({axis}), audiobox-aesthetics", "" if axis == "PC" else "higher",
                   comparable_by=_clip_model("aesthetics"), by_prompt=_column("aesthetics", key), on_set=f"{key}_{{}}")
        for axis, title in AXES.items()
        for key in (f"aesthetics_{axis.lower()}",)
    ),
)  # fmt: skip

GENERATED = (
    MetricSpec("clap", "CLAP score", "higher", comparable_by=_clap("clap"), by_prompt=_column("clap"), headline=True,
               on_set="clap_{}", heading="picked"),
    MetricSpec("clap_gain", "CLAP gain, matching over shuffled caption", "higher", comparable_by=_clap("clap"),
               by_prompt=_gain("clap"), headline=True),
    MetricSpec("clap_n1", "CLAP score without reranking", "higher", "clap_first", comparable_by=_clap("clap"),
               by_prompt=_column("clap", "candidate_0"), heading="first"),
    MetricSpec("clap_random", "CLAP score of a random candidate", "higher", logged=False, heading="random pick"),
    MetricSpec("clap_best_of_n", "best-of-N gain, reranking CLAP", "higher", "clap_picked_over_random", logged=False,
               heading="best-of-N gain"),
    MetricSpec("clap_r1", "CLAP R@1", "higher", comparable_by=_clap("clap"),
               by_prompt=_share("clap", lambda t: t["rank"] == 1), on_set="clap_{}_r1"),
    MetricSpec("clap_r10", "CLAP R@10", "higher", comparable_by=_clap("clap"),
               by_prompt=_share("clap", lambda t: t["rank"] <= 10), on_set="clap_{}_r10"),
    MetricSpec("judge", "CLAP score, held-out CLAP", "higher", comparable_by=_clap("judge"),
               by_prompt=_column("judge"), heading="picked"),
    MetricSpec("judge_n1", "CLAP score without reranking, held-out CLAP", "higher", "judge_first", logged=False,
               heading="first"),
    MetricSpec("judge_random", "CLAP score of a random candidate, held-out CLAP", "higher", logged=False,
               heading="random pick"),
    MetricSpec("judge_gain", "best-of-N gain, held-out CLAP", "higher", "judge_picked_over_random",
               comparable_by=_clap("judge"), by_prompt=_over_random("judge"), headline=True, heading="best-of-N gain"),
    MetricSpec("clap_attm", "CLAP score, ATTM's protocol", "higher", "attm", comparable_by=_clap("attm"),
               by_prompt=_column("attm"), on_set="attm_{}"),
    *DISTANCES,
    *CLIP_MODELS,
    MetricSpec("pulse", "pulse, autocorrelation of onsets at its best lag", "higher", comparable_by=CLIPS,
               by_prompt=_column("signals", "pulse"), headline=True, on_set="pulse_{}"),
    MetricSpec("pulse_stated", "pulse at the lag of the stated tempo", "higher", comparable_by=CLIPS,
               by_prompt=_column("signals", "pulse_stated"), on_set="pulse_stated_{}"),
    MetricSpec("tempo", "stated tempo within 5 %", "higher", comparable_by=TEMPO,
               by_prompt=_stated("tempo_hit", "stated_bpm"), headline=True, on_set="tempo_{}"),
    MetricSpec("tempo_octaves", "stated tempo within 5 %, octave errors allowed", "higher", comparable_by=TEMPO,
               by_prompt=_stated("tempo_hit_octaves", "stated_bpm"), on_set="tempo_octaves_{}"),
    MetricSpec("key", "stated key kept", "higher", comparable_by=CLIPS, by_prompt=_stated("key_hit", "stated_key"),
               on_set="key_{}"),
    MetricSpec("key_relative", "stated key or its relative kept", "higher", comparable_by=CLIPS,
               by_prompt=_stated("key_hit_relative", "stated_key"), on_set="key_relative_{}"),
    MetricSpec("diversity", "diversity of the candidates", comparable_by=_clap("clap")),
    MetricSpec("nearest", "CLAP similarity to the nearest training clip", logged=False, on_set="nearest_{}"),
    MetricSpec("memorised", "nearer to a training clip than 95 % of real clips", "lower", comparable_by=_clap("clap")),
    MetricSpec("silent", "share of silent clips", "lower", comparable_by=CLIPS,
               by_prompt=_share("signals", lambda t: t["silent"]), on_set="silent_{}"),
    MetricSpec("clipping", "share of clipping clips", "lower", comparable_by=CLIPS,
               by_prompt=_share("signals", lambda t: t["clipped"] > 0), on_set="clipping_{}"),
)  # fmt: skip

# Metrics of the reference sets alone, none of generated audio.
TOKEN_CONSISTENCY = MetricSpec(
    "token_consistency", "token consistency of the codec", "higher", stage="reference", logged=False,
    on_set="token_consistency_{}",
)  # fmt: skip


def prompted(metric: MetricSpec) -> MetricSpec:
    """The same metric of the samples that were generated with an audio prompt."""
    own = metric.by_prompt
    return replace(
        metric,
        key=f"{metric.key}{PROMPTED}",
        label=f"{metric.label}, with audio prompt",
        estimate=f"{metric.estimate}{PROMPTED}",
        comparable_by={
            what: (stage, (f"{path[0]}{PROMPTED}", *path[1:])) for what, (stage, path) in metric.comparable_by.items()
        },
        by_prompt=replace(own, table=f"{own.table}{PROMPTED}") if own else None,
        headline=metric.key in ("clap", "fad"),
    )


# Only samples with an audio prompt have these, so that their keys need no suffix.
LIKENESS = (
    MetricSpec("prompt_sim", "CLAP similarity to the audio prompt", "higher", f"prompt_similarity{PROMPTED}",
               comparable_by=_clap("clap"), by_prompt=_column(f"prompt_similarity{PROMPTED}"),
               on_set="prompt_similarity_{}"),
    MetricSpec("prompt_sim_gain", "CLAP gain, matching over shuffled audio prompt", "higher",
               f"prompt_similarity_gain{PROMPTED}", comparable_by=_clap("clap"),
               by_prompt=_gain(f"prompt_similarity{PROMPTED}"), headline=True, on_set="prompt_similarity_{}_gain"),
    MetricSpec("chroma_gain", "chroma gain, matching over shuffled audio prompt", "higher",
               f"chroma_gain{PROMPTED}", comparable_by=CLIPS, by_prompt=_gain(f"chroma{PROMPTED}"),
               on_set="chroma_{}_gain"),
)  # fmt: skip
GENERATED_PROMPTED = (*map(prompted, GENERATED), *LIKENESS)

# The reference sets whose metrics are logged: what ends the metrics' keys, the set, what a reader calls it.
REFERENCE_SETS = (
    ("real", "real", "real clips"),
    ("recon", "reconstruction", "codec reconstruction"),
    ("noise", "noise", "noise"),
)
SHUFFLED = (
    MetricSpec("clap_shuffled", "CLAP score, shuffled caption", on_set="clap_{}_shuffled"),
    MetricSpec("key_shuffled", "key of a shuffled caption kept", comparable_by=CLIPS, on_set="key_shuffled_{}"),
)
BASELINES = (
    _nll("nll_unigram", "NLL, unigram", "nll_unigram", "", heading="unigram"),
    _nll("nll_bigram", "NLL, bigram", "nll_bigram", "", headline=True, heading="bigram"),
    _nll("nll_copy", "NLL, copy of the clip's own past", "nll_copy", "", heading="copy"),
    _nll("nll_uniform", "NLL, uniform", "nll_uniform", "", logged=False, heading="uniform"),
    _nll("nll_none", "NLL without a caption", "nll_none", "", heading="no caption"),
    _nll("nll_shuffled", "NLL, shuffled caption", "nll_shuffled", "", heading="shuffled caption"),
)
REFERENCE_METRICS = (
    *BASELINES,
    *SHUFFLED,
    *map(prompted, SHUFFLED),
    *(
        MetricSpec(f"{one.key}_{short}", f"{one.label}: {name}", "", one.on_set.format(group), "reference")
        for one in GENERATED
        if one.key in ("clap", "clap_attm", "pulse", "tempo", "key") or one in (*DISTANCES, *CLIP_MODELS)
        for short, group, name in REFERENCE_SETS
    ),
    TOKEN_CONSISTENCY,
)

GROUPS: dict[str, tuple[MetricSpec, ...]] = {
    "Likelihood": LIKELIHOOD,
    "Generated from the caption": GENERATED,
    "Generated from caption and audio prompt": GENERATED_PROMPTED,
    "Reference metrics": REFERENCE_METRICS,
}
BY_KEY = {metric.key: metric for metrics in GROUPS.values() for metric in metrics}
# They fit a terminal of 160 columns, without those of audio prompts.
HEADLINE = frozenset(metric.key for metric in BY_KEY.values() if metric.headline)


def find(key: str) -> MetricSpec | None:
    """The metric of a key, those of single codebooks included; None for a key that the registry does not know."""
    codebook = CODEBOOK.match(key)
    return codebook_metric(int(codebook[1])) if codebook else BY_KEY.get(key)


def columns(stage: Stage, estimates: Iterable[str], num_codebooks: int = 0) -> dict[str, str]:
    """Key → estimate of every logged metric of a stage whose estimate is among `estimates`."""
    names = set(estimates)
    known = [*BY_KEY.values(), *map(codebook_metric, range(1, num_codebooks + 1))]
    return {one.key: one.estimate for one in known if one.logged and one.stage == stage and one.estimate in names}
