"""The page in headless Chromium, as people have it: type, hear, upload, stop, vote, two at once, reload."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from musicgen_lite.io import audio
from musicgen_lite.report.votes import read_votes
from tests.support import web_page
from tests.support.web_page import PROMPT, Served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
pytest.importorskip("playwright.sync_api", reason="no playwright here (pip install playwright)")
if web_page.CHROMIUM is None:
    pytest.skip("no Chromium here (apt-get install chromium)", allow_module_level=True)
PATIENT = 300_000  # ms, of a loaded machine


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with web_page.browser() as found:
        yield found


@pytest.fixture
def tab(browser: Any, page: Served) -> Iterator[Any]:
    """A visitor's own tab, which asks nothing of anybody else."""
    context = browser.new_context(viewport={"width": 1400, "height": 900}, accept_downloads=True)
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    found = visit(context, page)
    yield found
    assert asked
    context.close()
    assert not [url for url in asked if not url.startswith((page.address, "data:", "blob:"))]


def visit(context: Any, page: Served) -> Any:
    found = context.new_page()
    found.set_default_timeout(PATIENT)
    found.goto(page.address)
    return found


def choose(tab: Any, label: str, name: str) -> None:
    choice = tab.get_by_label(label, exact=True).first
    choice.fill(name)
    choice.press("Enter")


def ask(tab: Any, model: str, seconds: float, prompt: str = PROMPT) -> None:
    """Fill in the first tab and press Generate."""
    tab.get_by_label("Prompt").first.fill(prompt)
    tab.get_by_label("Seconds").first.fill(str(seconds))
    choose(tab, "Model", model)
    tab.get_by_role("button", name="Generate").click()


def done(tab: Any) -> str:
    tab.wait_for_selector("#status >> text=/^Done:/")
    return str(tab.locator("#status").inner_text())


def download(tab: Any, button: str, folder: Path) -> Path:
    with tab.expect_download() as found:
        tab.get_by_role("button", name=button).click()
    found.value.save_as(folder / found.value.suggested_filename)
    return Path(folder / found.value.suggested_filename)


@pytest.mark.parametrize("model", ["shipped-a", "shipped-b"])
def test_what_is_heard_is_what_is_made(tab: Any, page: Served, tmp_path: Path, model: str) -> None:
    """To a browser the sound is encoded again: its length and level are those of the file that can be downloaded."""
    playlists: list[Any] = []
    tab.on("response", lambda found: playlists.append(found) if found.url.endswith("m3u8") else None)
    ask(tab, model, 4)
    assert "seed" in done(tab)
    found = sum(map(float, re.findall(r"#EXTINF:([\d.]+)", playlists[0].text())))
    assert found > 1.25, "the browser asks again a second later"
    tab.wait_for_function("[...document.querySelectorAll('audio')].some(one => one.currentTime > 0)")
    samples, rate = audio.read(download(tab, "Download as FLAC", tmp_path))
    assert samples.shape[1] == 4 * rate
    heard, rate = web_page.streamed(playlists[0].url, tmp_path)
    assert len(heard) / rate == pytest.approx(4.0, abs=0.2)
    assert audio.rms_db(heard) == pytest.approx(audio.rms_db(samples[0]), abs=0.5)


@pytest.mark.parametrize(
    ("name", "subtype"), [("x.wav", "PCM_16"), ("x.mp3", None), ("x.flac", "PCM_24"), ("48k stereo.wav", "PCM_16")]
)
def test_a_clip_that_is_uploaded_is_gone_on_from_or_sets_the_style(
    tab: Any, models: dict[str, str], tmp_path: Path, name: str, subtype: str | None
) -> None:
    rate, channels = (48000, 2) if "48k" in name else (16000, 1)
    wave = 0.2 * np.sin(np.arange(2 * rate) / rate * 2 * np.pi * 330)
    soundfile.write(tmp_path / name, np.stack([wave] * channels, axis=1), rate, subtype=subtype)
    tab.get_by_role("button", name="More settings").click()
    for clips in (1, 2):  # one to go on from, and then a style as well
        tab.locator("input[type=file]").last.set_input_files(tmp_path / name)
        tab.wait_for_function(f"document.querySelectorAll('button[aria-label=Clear]').length === {clips}")
        ask(tab, models["b"], 1)
        tab.wait_for_selector("#status >> text=/Starting|is made/")
        assert done(tab).startswith("Done: 3.0 s")


def test_what_cannot_be_is_said_on_the_page(tab: Any, models: dict[str, str]) -> None:
    ask(tab, models["a"], 301)
    tab.wait_for_selector("text=seconds: found 301; above 0 and at most 300 are allowed")
    ask(tab, models["a"], 0.5)
    assert done(tab).startswith("Done: 0.5 s")


def test_a_file_that_is_too_large_is_refused_in_words_before_it_is_sent(
    tab: Any, page: Served, models: dict[str, str], tmp_path: Path
) -> None:
    with (tmp_path / "long.wav").open("wb") as file:
        file.truncate(2 * 2**30)  # without a byte on disk
    tab.get_by_role("button", name="More settings").click()
    tab.locator("input[type=file]").last.set_input_files(tmp_path / "long.wav")
    tab.wait_for_selector('text=File(s) exceed the maximum allowed size of 100.0 Mb: "long.wav"')
    ask(tab, models["a"], 0.5)
    assert done(tab).startswith("Done: 0.5 s")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_stop_frees_the_core(tab: Any, page: Served) -> None:
    ask(tab, "shipped-a", 300)
    tab.wait_for_selector("#status >> text=/is made/")
    tab.get_by_role("button", name="Stop").click()
    tab.wait_for_selector("#status >> text=Stopped.")
    time.sleep(1)
    before = cpu_s(page.pid)
    time.sleep(2)
    assert cpu_s(page.pid) - before < 1.0  # of 2: nothing is made any more


def test_a_reload_midway_frees_the_core_and_the_page_works_again(tab: Any, models: dict[str, str]) -> None:
    ask(tab, "shipped-a", 300)
    tab.wait_for_selector("#status >> text=/is made/")
    tab.reload()
    ask(tab, models["a"], 0.5)
    assert done(tab).startswith("Done: 0.5 s")


def test_two_people_at_once_get_what_each_asked_for(browser: Any, page: Served, models: dict[str, str]) -> None:
    contexts = [browser.new_context() for _ in range(2)]
    tabs = [visit(context, page) for context in contexts]
    for tab, seconds in zip(tabs, (2.0, 1.0), strict=True):
        ask(tab, models["a"], seconds)
    for tab, seconds in zip(tabs, (2.0, 1.0), strict=True):
        assert done(tab).startswith(f"Done: {seconds:.1f} s")
        tab.get_by_role("button", name="Make it again").click()
        assert f"--seconds {seconds:g}" in tab.locator("code, .cm-content").first.inner_text()
    for context in contexts:
        context.close()


def test_a_blind_vote_is_one_that_compare_reads(tab: Any, models: dict[str, str], tmp_path: Path) -> None:
    tab.get_by_role("tab", name="Compare").click()
    panel = tab.get_by_role("tabpanel").filter(has=tab.get_by_role("button", name="Make both"))
    panel.get_by_label("Prompt").fill(PROMPT)
    panel.get_by_label("Seconds").fill("1")
    choose(panel, "Model A", models["a"])
    choose(panel, "Model B", models["b"])
    panel.get_by_role("button", name="Make both").click()
    tab.wait_for_selector("text=Which one do you prefer?")
    assert "guidance 2" not in panel.inner_text()  # nothing names the sides before the vote
    panel.get_by_role("button", name="The first").click()
    tab.wait_for_selector("text=/^First: .*Second: /")
    (vote,) = read_votes([download(tab, "Download votes.csv", tmp_path)])
    assert vote.preferred == vote.first
    assert {vote.first, vote.second} == {f"{models['a']}, guidance 2", f"{models['b']}, guidance 2"}
    command = [sys.executable, "-m", "musicgen_lite", "compare", "--votes", "votes.csv"]
    counted = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert vote.preferred in "".join(line.strip() for line in counted.stdout.splitlines())


@pytest.mark.parametrize("width", [1400, 400])
def test_nothing_reaches_beyond_the_window(tab: Any, models: dict[str, str], width: int) -> None:
    tab.set_viewport_size({"width": width, "height": 900})
    ask(tab, models["a"], 1)
    done(tab)
    for name in ("Create", "Compare", "Runs", "About the model"):
        seen = [one for one in tab.get_by_role("tab", name=name).all() if one.is_visible()]
        if not seen:  # a narrow window folds the last tab away
            tab.get_by_role("button", name="More tabs").click()
            seen = [tab.locator(".overflow-dropdown button", has_text=name)]
        seen[0].click()
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, name
