"""The page is well formed, whole in itself, and plays the bytes it was given."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from musicgen_lite.io import audio
from musicgen_lite.report.page import Entry, PageData, Score, ScoreRow, ScoreTable, listening_page, number, sound
from tests.support.pages import Reader, decoded


@pytest.fixture(scope="module")
def html(page: PageData) -> str:
    return listening_page(page)


@pytest.fixture(scope="module")
def read(html: str) -> Reader:
    return Reader(html)


def in_order(page: PageData) -> list[Entry]:
    return sorted(page.entries, key=lambda entry: not entry.fixed)


def test_players_hold_the_same_bytes_fixed_prompts_first(page: PageData, read: Reader) -> None:
    expected = [one.flac for entry in in_order(page) for one in entry.sounds]
    assert not page.entries[0].fixed, "the fixture puts fixed prompts last"
    assert [decoded(tag["src"], "audio/flac") for tag in read.all("audio")] == expected
    samples, rate = audio.decode(decoded(read.all("audio")[0]["src"], "audio/flac"))
    assert (len(samples), rate) == (80000, 16000)


def test_the_page_begins_with_the_fixed_prompts_then_the_headline_then_tables_then_test_prompts(html: str) -> None:
    def at(part: str) -> int:
        assert html.count(part) == 1, part
        return html.index(part)

    order = [
        'id="prompts"',
        "fixed-0",
        "fixed-2",
        'id="headline"',
        'id="scores"',
        'id="curves"',
        'id="more"',
        "clip-1000",
    ]
    places = [at(part) for part in order]
    assert places == sorted(places)


def test_without_fixed_prompts_the_test_prompts_come_first(page: PageData) -> None:
    tests = tuple(entry for entry in page.entries if not entry.fixed)
    html = listening_page(dataclasses.replace(page, entries=tests))
    assert html.index("clip-1000") < html.index('id="headline"')
    assert 'id="more"' not in html


def test_pictures_are_inside_and_have_their_size(page: PageData, read: Reader) -> None:
    pictures = [one.picture for entry in in_order(page) for one in entry.sounds]
    shown = [tag for tag in read.all("img") if "width" in tag]
    assert [decoded(tag["src"], "image/png") for tag in shown] == pictures
    assert {Image.open(io.BytesIO(png)).size for png in pictures} == {(500, 180)}
    assert {(tag["width"], tag["height"]) for tag in shown} == {("500", "180")}
    assert [decoded(tag["srcset"], "image/png") for tag in read.all("source")] == [one.dark for one in page.charts]


def test_nothing_is_asked_of_the_network(html: str, read: Reader) -> None:
    for tag, attributes in read.tags:
        for name in ("src", "srcset", "href", "poster", "action", "data", "style"):
            value = attributes.get(name, "")
            assert not value or value.startswith(("data:", "#", "--")), f"{tag} {name}={value[:60]}"
    assert "http://" not in html
    assert "https://" not in html
    assert "@import" not in html
    assert "url(" not in html
    policy = next(tag["content"] for tag in read.all("meta") if tag.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_text_is_escaped_and_comes_back_as_it_was(page: PageData) -> None:
    nasty = '<script>alert("1")</script> & \'x\' {{ page }} "quoted" https://example.org/a.js'
    entries = tuple(
        dataclasses.replace(
            entry, id=nasty, caption=nasty,
            sounds=tuple(dataclasses.replace(one, name=nasty, note=nasty, ranked_by=nasty) for one in entry.sounds),
        )
        for entry in page.entries[:1]
    )  # fmt: skip
    charts = tuple(dataclasses.replace(one, title=nasty, alt=nasty) for one in page.charts[:1])
    tables = (ScoreTable(nasty, (nasty,), (ScoreRow(nasty, (Score(1.0),)),), nasty),)
    facts = ((nasty, nasty),)
    html = listening_page(PageData(nasty, nasty, facts, tables, charts, entries, 1))
    read = Reader(html)
    assert len(read.all("script")) == 1
    assert read.text.count(nasty) >= 14
    assert {tag["alt"] for tag in read.all("img")} == {nasty, f"Spectrogram of {nasty}: {nasty}"}
    assert {tag["aria-label"] for tag in read.all("audio")} == {f"{nasty}: {nasty}"}


def test_a_reader_without_eyes_or_mouse_gets_everything(read: Reader) -> None:
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for _, attributes in read.tags:
        assert attributes.get("aria-labelledby", ids[0]) in ids
        assert attributes.get("href", "#scores").lstrip("#") in ids or attributes["href"].startswith("data:")
    assert all("controls" in tag and tag["aria-label"] for tag in read.all("audio"))
    assert all(tag["alt"] for tag in read.all("img"))
    assert all("scope" in tag for tag in read.all("th"))
    assert read.all("html")[0]["lang"] == "en"


def test_scores_intervals_counts_and_candidates_are_shown(read: Reader) -> None:
    for part in (
        "gusty-fern-b", "Model B: cross-attention over text and an audio prompt", "pattern interleaved",
        "NLL, nats per token lower is better 4.738 4.707 to 4.769 4.829 4.796 to 4.862", "−0.050 −0.060 to −0.040 64",
        "CLAP of 4 candidates: 0.213 , 0.341 , −0.018 , 0.297",
        "The 3 fixed prompts. One player sounds at a time.", "2 of the 64 test prompts, in stored order",
        "NLL, nats per token lower is better 4.738 4.707 to 4.769 CLAP score higher is better 0.341",
    ):  # fmt: skip
        assert part in read.text
    picked = [attributes for tag, attributes in read.tags if tag == "strong" and "aria-label" in attributes]
    assert {tag["aria-label"] for tag in picked} == {"0.341, picked"}


def test_the_limit_counts_test_prompts_only(page: PageData) -> None:
    read = Reader(listening_page(page, limit=1))
    assert len(read.all("article")) == 4
    assert "clip-1000" in read.text
    assert "clip-1001" not in read.text


def test_equal_data_gives_an_equal_page(page: PageData, html: str) -> None:
    assert listening_page(page) == html


def test_a_run_without_charts_tables_or_candidates_is_a_page_too() -> None:
    flac = audio.encode_flac(np.sin(np.arange(1600, dtype=np.float32)), 16000)
    entry = Entry("one", "A sine.", (sound("Generated", flac),))
    read = Reader(listening_page(PageData("run", "Model A", (), (), (), (entry,), 1)))
    assert "candidates" not in read.text
    assert "1 of the 1 test prompts" in read.text


def test_wrong_data_is_refused() -> None:
    with pytest.raises(ValueError, match="table, row: 1 scores for 2 columns"):
        ScoreTable("table", ("a", "b"), (ScoreRow("row", (Score(1.0),)),))
    with pytest.raises(ValueError, match="plays FLAC"):
        sound("Generated", b"RIFF....WAVE")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.000"), (4.7384, "4.738"), (-0.05, "−0.050"), (0.00412, "0.00412"), (114.2, "114.2"), (1367.1, "1367")],
)
def test_numbers_read_well(value: float, text: str) -> None:
    assert number(value) == text
