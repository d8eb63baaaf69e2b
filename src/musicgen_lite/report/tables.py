"""From the scores of a run to the tables and charts that people look at; the same ones on the page and in the terminal.

Takes the `details` of `scoring.statistics.scores.Scores`, as the stages wrote them: estimates by name, each with value, low,
high, n. What a metric is called and which way is better stands in `scoring.metrics`; here stands what is shown where.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from musicgen_lite.report import plots
from musicgen_lite.report.page import Chart, Score, ScoreRow, ScoreTable, chart
from musicgen_lite.scoring.metrics import (
    BY_KEY,
    HEADLINE,
    NOT_APPLICABLE,
    PROMPTED,
    MetricSpec,
    codebook_estimate,
)

Details = Mapping[str, Any]


def _metrics(*keys: str) -> tuple[MetricSpec, ...]:
    return tuple(BY_KEY[key] for key in keys)


NLL_COLUMNS = _metrics(
    "nll", "nll_prompt", "nll_shuffled", "nll_none", "nll_copy", "nll_bigram", "nll_unigram", "nll_uniform",
)  # fmt: skip
AUDIO_ROWS = _metrics(
    "clap", "clap_attm", "clap_shuffled", "clap_r1", "clap_r10", "fad", "fad_fadtk", "fad_attm", "fad_audiocraft", "fad_inf", "fad_inf_fadtk",
    "fad_codec", "fad_mel", "kad", "kad_kadtk", "kad_codec", "kad_mel", "kl_passt", "kl_passt_reversed", "aesthetics_ce", "aesthetics_cu",
    "aesthetics_pc", "aesthetics_pq", "pulse", "pulse_stated", "tempo", "tempo_octaves", "key", "key_relative", "key_shuffled", "prompt_sim_gain",
    "chroma_gain", "nearest", "memorised", "diversity", "silent", "clipping", "token_consistency",
)  # fmt: skip
GAINS = _metrics(
    "caption_gain",
    "text_gain",
    "beat_gain",
    "prompt_gain",
    "prompt_over_none",
    "bigram_gain",
    "copy_gain",
    "clap_gain",
)
RERANKING = {
    "reranking CLAP": _metrics("clap", "clap_random", "clap_n1", "clap_best_of_n"),
    "held-out CLAP": _metrics("judge", "judge_random", "judge_n1", "judge_gain"),
}
SETS = {
    "real": "real",
    "codec reconstruction": "reconstruction",
    "few genres": "few_genres",
    "noise": "noise",
}


def _score(details: Details, name: str) -> Score | None:
    found = details["estimates"].get(name)
    return Score.of(found) if found else None


def _table(title: str, columns: Sequence[str], rows: Sequence[ScoreRow], note: str = "") -> ScoreTable:
    """A table without the columns and rows in which nothing was measured."""
    used = [i for i in range(len(columns)) if any(row.scores[i] for row in rows)]
    kept = [ScoreRow(row.name, tuple(row.scores[i] for i in used), row.better) for row in rows if any(row.scores)]
    return ScoreTable(title, tuple(columns[i] for i in used), tuple(kept), note)


def headline(scores: Details) -> tuple[ScoreRow, ...]:
    """The headline metrics that were measured, as `dvc exp show` has them."""
    shown = [metric for key, metric in BY_KEY.items() if key in HEADLINE]
    return tuple(ScoreRow(one.label, (score,), one.better) for one in shown if (score := _score(scores, one.estimate)))


def nll_table(nll: Details, num_codebooks: int) -> ScoreTable:
    """NLL in nats per token, overall and per codebook, under each condition and baseline."""
    rows = [ScoreRow("all codebooks", tuple(_score(nll, one.estimate) for one in NLL_COLUMNS), "lower")]
    for number in range(1, num_codebooks + 1):
        scores = tuple(_score(nll, codebook_estimate(one.estimate, number)) for one in NLL_COLUMNS)
        rows.append(ScoreRow(f"codebook {number}", scores, "lower"))
    for one in _metrics("ppl", "bps"):
        scores = (_score(nll, one.estimate), *[None] * (len(NLL_COLUMNS) - 1))
        rows.append(ScoreRow(one.label, scores, one.better))
    note = "Nats per token on held-out clips, the same cells in every column. 95 % bootstrap CIs over clips."
    if reason := _not_applicable(nll):
        note = f"Not applicable: {reason}."
    return _table("Likelihood", [one.heading for one in NLL_COLUMNS], rows, note)


def audio_table(audio: Details) -> ScoreTable:
    """The generated sets beside real clips, the codec's reconstruction and noise."""
    rows = []
    for one in AUDIO_ROWS:
        names = [*_generated(one), *(one.on_set.format(key) for key in SETS.values())]
        rows.append(ScoreRow(one.label, tuple(_score(audio, name) for name in names), one.better))
    note = "Distances are to one half of the test tracks; all sets have the same number and length of clips."
    notes = audio.get("notes", {})
    withheld = {"FAD-infinity": notes.get("clap", {}).get("sets", {}).get("generated", {}).get("fad_inf", "")}
    withheld |= {one.label: next((notes[name] for name in _generated(one) if name in notes), "") for one in AUDIO_ROWS}
    note += "".join(f" {name} is {why}." for name, why in withheld.items() if str(why).startswith("withheld"))
    note += f" Retrieval is among {notes['clap_captions']}." if "clap_captions" in notes else ""
    note += "".join(f" {notes[name]}." for name in ("tracks", "rejected") if name in notes)
    return _table("Generated audio", ["generated", "with audio prompt", *SETS], rows, note)


def _generated(metric: MetricSpec) -> tuple[str, str]:
    """The estimates of a metric for samples without and with an audio prompt."""
    without = metric.estimate.removesuffix(PROMPTED)
    return without, f"{without}{PROMPTED}"


def gains_table(scores: Details) -> ScoreTable:
    """What each condition brings: differences on the same clips, above 0 where it helps."""
    rows = [ScoreRow(one.label, (_score(scores, one.estimate),), one.better) for one in GAINS]
    note = "Paired by clip, each with the CI of the difference. NLL gains are in nats per token."
    reasons = {one.label: scores.get("notes", {}).get(one.estimate, "") for one in GAINS}
    note += "".join(f" {name} is {why}." for name, why in reasons.items() if why)
    return _table("What the conditions bring", ["gain"], rows, note)


def reranking_table(audio: Details) -> ScoreTable:
    """The best-of-N gain, by the CLAP that picked and by a held-out one."""
    rows = [
        ScoreRow(name, tuple(_score(audio, one.estimate) for one in metrics), "higher")
        for name, metrics in RERANKING.items()
    ]
    columns = [one.heading for one in RERANKING["held-out CLAP"]]
    return _table("Best of N candidates", columns, rows, "Cosine of audio and caption, mean over test prompts.")


def charts(curves: Sequence[Mapping[str, float]], nll: Details, num_codebooks: int) -> tuple[Chart, ...]:
    """Loss by step with the level of the baselines, NLL per codebook, and NLL by frame; none without a likelihood."""
    if _not_applicable(nll):
        return ()
    levels = {name: score.value for name in ("unigram", "bigram", "copy") if (score := _score(nll, f"nll_{name}"))}
    train = [(row["step"], row["train_loss"]) for row in curves if "train_loss" in row]
    validation = [(row["step"], row["val_loss"]) for row in curves]
    shown = {"model": "nll_caption", "copy": "nll_copy", "bigram": "nll_bigram", "unigram": "nll_unigram"}
    bars = {
        name: [score.value for q in range(num_codebooks) if (score := _score(nll, codebook_estimate(prefix, q + 1)))]
        for name, prefix in shown.items()
    }
    own = bars.pop("model")
    last = f"The last validation gives {validation[-1][1]:.2f} nats per token."
    return (
        chart("Training", last, lambda theme: plots.nll_curves(train, validation, levels, theme)),
        chart(
            "Codebooks", "NLL per codebook: " + ", ".join(f"{value:.2f}" for value in own),
            lambda theme: plots.codebook_bars(own, {k: v for k, v in bars.items() if v}, theme),
        ),
        *_frame_charts(nll),
    )  # fmt: skip


def no_charts(nll: Details) -> tuple[Chart, ...]:
    """The charts of a run without a likelihood: they say why there is nothing to draw."""
    words = f"Not applicable: {_not_applicable(nll)}."
    return tuple(
        chart(title, words, lambda theme: plots.words(words, theme)) for title in ("Training", "Codebooks", "Frames")
    )


def _not_applicable(details: Details) -> str:
    """Why nothing of the details applies to the run; "" where it does."""
    return str(details.get("notes", {}).get(NOT_APPLICABLE, ""))


def _frame_charts(nll: Details) -> tuple[Chart, ...]:
    """NLL by frame of the model and of the baselines that know the clip's past; none in details without it."""
    found = nll.get("notes", {}).get("nll_by_frame")
    if not found:
        return ()
    names = {"model": "caption", "copy": "copy", "bigram": "bigram"}
    shown = {label: found["nll"][name] for label, name in names.items() if name in found["nll"]}
    ends = (f"{label} {one['q1'][0]:.2f} to {one['q1'][-1]:.2f}" for label, one in shown.items())
    words = f"NLL of codebook 1 in the first and in the last frames: {', '.join(ends)}."
    return (chart("Frames", words, lambda theme: plots.frame_curves(found["edges"], shown, theme)),)
