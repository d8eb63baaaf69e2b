"""Tables of a run: each metric comes from its own estimate, and what was not measured leaves no empty column."""

from typing import Any

import pytest

from musicgen_lite.report import tables


def details(*names: str) -> dict[str, Any]:
    """Details in which the n-th name has the value n."""
    return {
        "estimates": {
            name: {"value": float(i), "low": i - 0.5, "high": i + 0.5, "n": 10} for i, name in enumerate(names)
        }
    }


def cell(table: tables.ScoreTable, row: str, column: str) -> float | None:
    score = next(one for one in table.rows if one.name == row).scores[table.columns.index(column)]
    return score.value if score else None


def test_likelihood_of_a_has_no_prompt_column_and_b_has() -> None:
    names = [
        f"nll_{kind}{q}"
        for kind in ("caption", "shuffled", "none", "copy", "bigram", "unigram")
        for q in ("", "_q1", "_q2")
    ] + ["bits_per_second", "perplexity"]
    table = tables.nll_table(details(*names), num_codebooks=2)
    assert table.columns == ("matching caption", "shuffled caption", "no caption", "copy", "bigram", "unigram")
    shown = ["all codebooks", "codebook 1", "codebook 2", "perplexity", "bits per second of audio"]
    assert [row.name for row in table.rows] == shown
    assert cell(table, "bits per second of audio", "matching caption") == names.index("bits_per_second")
    assert cell(table, "perplexity", "bigram") is None
    assert cell(table, "codebook 2", "bigram") == names.index("nll_bigram_q2")
    assert cell(table, "codebook 2", "copy") == names.index("nll_copy_q2")
    with_prompt = tables.nll_table(details(*names, "nll_caption+prompt"), num_codebooks=2)
    assert cell(with_prompt, "all codebooks", "caption + prompt") == len(names)
    assert cell(with_prompt, "codebook 1", "caption + prompt") is None


def test_audio_of_each_set_stands_in_its_column() -> None:
    names = [
        "clap",
        "clap_real",
        "clap_noise",
        "clap_prompted",
        "clap_fad_generated",
        "clap_fad_reconstruction",
        "tempo",
        "pulse",
        "pulse_noise",
        "key_real",
        "key_shuffled_real",
    ]
    table = tables.audio_table(details(*names))
    assert table.columns == ("generated", "with audio prompt", "real", "codec reconstruction", "noise")
    assert cell(table, "CLAP score", "with audio prompt") == names.index("clap_prompted")
    assert cell(table, "FAD, CLAP", "codec reconstruction") == names.index("clap_fad_reconstruction")
    assert cell(table, "FAD, CLAP", "real") is None
    assert "KAD, CLAP" not in [row.name for row in table.rows]
    pulse = "pulse, autocorrelation of onsets at its best lag"
    assert [cell(table, pulse, name) for name in ("generated", "noise")] == [
        names.index("pulse"),
        names.index("pulse_noise"),
    ]
    assert cell(table, "stated key kept", "real") == names.index("key_real")
    assert cell(table, "key of a shuffled caption kept", "real") == names.index("key_shuffled_real")


def test_music_of_few_genres_and_the_nearest_training_clip_have_their_places() -> None:
    names = ["clap_fad_generated", "clap_fad_few_genres", "memorised", "nearest", "nearest_real", "chroma_gain_prompted",
             "chroma_real_gain", "token_consistency_reconstruction"]  # fmt: skip
    found = details(*names)
    table = tables.audio_table(found)
    assert cell(table, "FAD, CLAP", "few genres") == 1.0
    assert cell(table, "nearer to a training clip than 95 % of real clips", "generated") == 2.0
    assert cell(table, "CLAP similarity to the nearest training clip", "real") == 4.0
    chroma = "chroma gain, matching over shuffled audio prompt"
    assert [cell(table, chroma, column) for column in ("generated", "with audio prompt", "real")] == [None, 5.0, 6.0]
    kept = "token consistency of the codec"
    assert [cell(table, kept, column) for column in ("generated", "codec reconstruction")] == [None, 7.0]
    assert "FAD-infinity" not in table.note
    notes = {"clap": {"sets": {"generated": {"fad_inf": "withheld: 9 clips are few"}}}}
    assert tables.audio_table({**found, "notes": notes}).note.endswith("FAD-infinity is withheld: 9 clips are few.")


def test_gains_are_shown_where_they_were_measured() -> None:
    table = tables.gains_table(details("clap_gain", "nll_caption_gain"))
    assert cell(table, "NLL gain, matching over shuffled caption", "gain") == 1.0
    assert cell(table, "CLAP gain, matching over shuffled caption", "gain") == 0.0
    assert len(table.rows) == 2


def test_reranking_without_a_held_out_clap_has_one_row() -> None:
    parts = ("clap", "clap_random", "clap_first", "clap_picked_over_random")
    table = tables.reranking_table(details(*parts))
    assert [row.name for row in table.rows] == ["reranking CLAP"]
    assert [score.value for score in table.rows[0].scores if score] == [0.0, 1.0, 2.0, 3.0]


def test_charts_say_in_words_what_they_show() -> None:
    curve = [{"step": 10.0, "train_loss": 5.5, "val_loss": 5.4}, {"step": 20.0, "train_loss": 5.2, "val_loss": 5.1}]
    names = ["nll_unigram", "nll_bigram", *(f"nll_{k}_q{q}" for k in ("caption", "bigram", "unigram") for q in (1, 2))]
    by_frame = {"caption": [4.2, 4.1], "copy": [4.6, 3.1], "bigram": [4.6, 4.5], "uniform": [6.2, 6.2]}
    nll = {name: {"all": [5.0, 5.0], "q1": values} for name, values in by_frame.items()}
    found = details(*names) | {"notes": {"nll_by_frame": {"edges": [0, 10, 25], "clips": [9, 9], "nll": nll}}}
    training, codebooks, frames = tables.charts(curve, found, num_codebooks=2)
    ends = "model 4.20 to 4.10, copy 4.60 to 3.10, bigram 4.60 to 4.50"
    assert frames.alt == f"NLL of codebook 1 in the first and in the last frames: {ends}."
    assert frames.light.startswith(b"\x89PNG")
    assert training.alt == "The last validation gives 5.10 nats per token."
    assert codebooks.alt == "NLL per codebook: 2.00, 3.00"
    assert training.light.startswith(b"\x89PNG")
    assert training.light != training.dark


@pytest.mark.parametrize("table", [tables.nll_table(details(), 4), tables.audio_table(details())])
def test_nothing_measured_gives_an_empty_table(table: tables.ScoreTable) -> None:
    assert table.rows == ()
    assert table.columns == ()


def test_charts_of_a_model_that_was_not_trained_here_show_its_validation() -> None:
    curves = [{"step": 0.0, "val_loss": 5.25}]
    training, _ = tables.charts(curves, details("nll_caption_q1", "nll_unigram"), num_codebooks=1)
    assert "last validation gives 5.25" in training.alt
    assert training.light.startswith(b"\x89PNG")


def test_what_is_withheld_is_said_with_its_reason() -> None:
    why = "withheld: all 9 clips share one caption, so that it cannot be shuffled"
    silent = "withheld: no caption states a key"
    doubt = "FAD and KAD are between clips of 2 test tracks"
    notes = {"clap_shuffled": why, "clap_gain": why, "clap_r1": "withheld: among 1 captions every one is in the first 1",
             "chroma_gain_prompted": "withheld: all 9 clips are of one track", "clap_captions": "1 different captions of 9 clips",
             "tracks": doubt, "key": silent}  # fmt: skip
    audio = {**details("clap"), "notes": notes}
    said = tables.audio_table(audio).note
    assert f"CLAP score, shuffled caption is {why}." in said
    assert "CLAP R@1 is withheld: among 1 captions every one is in the first 1." in said
    assert "chroma gain, matching over shuffled audio prompt is withheld: all 9 clips are of one track." in said
    assert "Retrieval is among 1 different captions of 9 clips." in said
    assert f"stated key kept is {silent}." in said
    assert said.endswith(f"{doubt}.")
    assert f"CLAP gain, matching over shuffled caption is {why}." in tables.gains_table(audio).note
