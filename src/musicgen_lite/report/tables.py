"""From the scores of a run to the tables and charts that people look at; the same ones on the page and in the terminal.

Takes the `details` of `scoring.summary.Scores`, as the stages wrote them: estimates by name, each with value, low, high, n.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from musicgen_lite.report import plots
from musicgen_lite.report.page import Chart, Score, ScoreRow, ScoreTable, chart

Details = Mapping[str, Any]
Better = Literal["higher", "lower", ""]
NLL_COLUMNS = {
    "its caption": "nll_caption", "caption + prompt": "nll_caption+prompt", "another's caption": "nll_shuffled",
    "no caption": "nll_none", "bigram": "nll_bigram", "unigram": "nll_unigram", "uniform": "nll_uniform",
}  # fmt: skip
AUDIO_ROWS: tuple[tuple[str, Better, str, str], ...] = (
    # name, better, estimate of a generated set, estimate of another set ({} is the set's name)
    ("CLAP with its caption", "higher", "clap", "clap_{}"),
    ("CLAP with another's caption", "", "clap_shuffled", "clap_{}_shuffled"),
    ("CLAP R@1", "higher", "clap_r1", "clap_{}_r1"),
    ("CLAP R@10", "higher", "clap_r10", "clap_{}_r10"),
    ("FAD, CLAP", "lower", "clap_fad_generated", "clap_fad_{}"),
    ("FAD-infinity, CLAP", "lower", "clap_fad_inf_generated", "clap_fad_inf_{}"),
    ("FAD, codec latents", "lower", "codec_fad_generated", "codec_fad_{}"),
    ("FAD, mel statistics", "lower", "mel_fad_generated", "mel_fad_{}"),
    ("KAD, CLAP", "lower", "clap_kad_generated", "clap_kad_{}"),
    ("KAD, codec latents", "lower", "codec_kad_generated", "codec_kad_{}"),
    ("KAD, mel statistics", "lower", "mel_kad_generated", "mel_kad_{}"),
    ("stated tempo kept within 5 %", "higher", "tempo", "tempo_{}"),
    ("the same, its half or double too", "higher", "tempo_octaves", "tempo_octaves_{}"),
    ("CLAP with the audio prompt, own over another's", "higher", "prompt_similarity_gain", "prompt_similarity_{}_gain"),
    ("chroma with the audio prompt, own over another's", "higher", "chroma_gain", "chroma_{}_gain"),
    ("CLAP with the nearest training clip", "", "nearest", "nearest_{}"),
    ("nearer to it than 95 % of real clips", "lower", "memorised", "memorised_{}"),
    ("diversity of the candidates", "", "diversity", "diversity_{}"),
    ("silent clips", "lower", "silent", "silent_{}"),
    ("clipping clips", "lower", "clipping", "clipping_{}"),
    ("codes kept when encoded again", "higher", "codes_kept", "codes_kept_{}"),
)
GAINS = {
    "NLL, its caption over another's": "nll_caption_gain", "NLL, its caption over none": "nll_text_gain",
    "NLL, its audio prompt over another's": "nll_prompt_gain", "NLL, its audio prompt over none": "nll_prompt_over_none",
    "NLL, its caption over the bigram": "nll_bigram_gain", "CLAP, its caption over another's": "clap_gain",
}  # fmt: skip
SETS = {"real": "real", "through the codec": "reconstruction", "few genres": "few_genres", "noise": "noise"}
RERANKING = {"CLAP, which picked": "clap", "judge, which did not": "judge"}


def _score(details: Details, name: str) -> Score | None:
    found = details["estimates"].get(name)
    return Score(found["value"], found.get("low"), found.get("high"), found.get("n")) if found else None


def _table(title: str, columns: Sequence[str], rows: Sequence[ScoreRow], note: str = "") -> ScoreTable:
    """A table without the columns and rows in which nothing was measured."""
    used = [i for i in range(len(columns)) if any(row.scores[i] for row in rows)]
    kept = [ScoreRow(row.name, tuple(row.scores[i] for i in used), row.better) for row in rows if any(row.scores)]
    return ScoreTable(title, tuple(columns[i] for i in used), tuple(kept), note)


def nll_table(nll: Details, num_codebooks: int) -> ScoreTable:
    """NLL in nats per code, in all and per codebook, under each condition and baseline."""
    suffixes = {"all codebooks": ""} | {f"codebook {q + 1}": f"_q{q + 1}" for q in range(num_codebooks)}
    rows = [
        ScoreRow(name, tuple(_score(nll, column + suffix) for column in NLL_COLUMNS.values()), "lower")
        for name, suffix in suffixes.items()
    ]
    for name, estimate in {"perplexity": "perplexity", "bits per second of audio": "bits_per_second"}.items():
        rows.append(ScoreRow(name, (_score(nll, estimate), *[None] * (len(NLL_COLUMNS) - 1)), "lower"))
    note = "Nats per code on held-out clips, the same cells in every column. 95 % bootstrap intervals over clips."
    return _table("Likelihood", list(NLL_COLUMNS), rows, note)


def audio_table(audio: Details) -> ScoreTable:
    """The generated sets beside real clips, the codec's reconstruction and noise."""
    columns = ["generated", "with audio prompt", *SETS]
    rows = []
    for name, better, own, other in AUDIO_ROWS:
        scores = [_score(audio, own), _score(audio, f"{own}_prompted")]
        scores += [_score(audio, other.format(key)) for key in SETS.values()]
        rows.append(ScoreRow(name, tuple(scores), better))
    note = "Distances are to one half of the test tracks; all sets hold as many and as long clips."
    notes = audio.get("notes", {})
    withheld = {"FAD-infinity": notes.get("clap", {}).get("sets", {}).get("generated", {}).get("fad_inf", "")}
    withheld |= {name: notes.get(own, notes.get(f"{own}_prompted", "")) for name, _, own, _ in AUDIO_ROWS}
    note += "".join(f" {name} is {why}." for name, why in withheld.items() if str(why).startswith("withheld"))
    note += f" Retrieval is among {notes['clap_captions']}." if "clap_captions" in notes else ""
    note += f" {notes['tracks']}." if "tracks" in notes else ""
    return _table("Generated audio", columns, rows, note)


def gains_table(scores: Details) -> ScoreTable:
    """What the model makes of what it is told: differences on the same clips, above 0 where it helps."""
    rows = [ScoreRow(name, (_score(scores, gain),), "higher") for name, gain in GAINS.items()]
    note = "Paired by clip, so that the interval is the difference's own. NLL in nats per code saved."
    reasons = {name: scores.get("notes", {}).get(gain, "") for name, gain in GAINS.items()}
    note += "".join(f" {name} is {why}." for name, why in reasons.items() if why)
    return _table("What the conditions bring", ["gain"], rows, note)


def reranking_table(audio: Details) -> ScoreTable:
    """What keeping the best of N candidates brings, by the CLAP that picked and by one that did not."""
    parts = {"picked": "", "random pick": "_random", "first": "_first", "picked over random": "_picked_over_random"}
    rows = [
        ScoreRow(name, tuple(_score(audio, f"{prefix}{part}") for part in parts.values()), "higher")
        for name, prefix in RERANKING.items()
    ]
    return _table("Best of N candidates", list(parts), rows, "Cosine of audio and caption, mean over test prompts.")


def charts(curves: Sequence[Mapping[str, float]], nll: Details, num_codebooks: int) -> tuple[Chart, ...]:
    """Loss by step with the baselines' level, and NLL per codebook."""
    levels = {name: score.value for name in ("unigram", "bigram") if (score := _score(nll, f"nll_{name}"))}
    train = [(row["step"], row["train_loss"]) for row in curves if "train_loss" in row]
    validation = [(row["step"], row["val_loss"]) for row in curves]
    shown = {"model": "nll_caption", "bigram": "nll_bigram", "unigram": "nll_unigram"}
    bars = {
        name: [score.value for q in range(num_codebooks) if (score := _score(nll, f"{prefix}_q{q + 1}"))]
        for name, prefix in shown.items()
    }
    own = bars.pop("model")
    last = f"The last validation gives {validation[-1][1]:.2f} nats a code."
    return (
        chart("Training", last, lambda theme: plots.nll_curves(train, validation, levels, theme)),
        chart(
            "Codebooks", "NLL per codebook: " + ", ".join(f"{value:.2f}" for value in own),
            lambda theme: plots.codebook_bars(own, {k: v for k, v in bars.items() if v}, theme),
        ),
    )  # fmt: skip
