"""The page in headless Chromium, as people have it: type, hear, upload, stop, vote, two at once, reload."""

import itertools
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

from musicgen_lite.app.making import FULL, UPLOADS, WAITS
from musicgen_lite.io import audio
from musicgen_lite.report.votes import read_votes
from tests.app.test_server import form
from tests.support import web_page
from tests.support.web_page import PROMPT, Served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
pytest.importorskip("playwright.sync_api", reason="no playwright here (pip install playwright)")
if web_page.CHROMIUM is None:
    pytest.skip("no Chromium here (apt-get install chromium)", allow_module_level=True)
PATIENT = 300_000  # ms, of a loaded machine
SEEDS = itertools.count(1)  # each piece has its own, by which what is said of it is known from what was said before


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


def ask(tab: Any, model: str, seconds: float) -> int:
    """Fill in the first tab and press Generate, once it can be pressed; gives the seed."""
    seed = next(SEEDS)
    tab.get_by_label("Prompt").first.fill(PROMPT)
    tab.get_by_label("Seed").first.fill(str(seed))
    tab.get_by_label("Seconds").first.fill(str(seconds))
    choose(tab, "Model", model)
    generate(tab).click()
    return seed


def done(tab: Any, seed: int) -> str:
    """What is said of the piece with that seed at its end."""
    return str(tab.wait_for_selector(rf"#status >> text=/^Done: .* with seed {seed}\./").inner_text())


def compare(tab: Any, seconds: float, *models: str) -> Any:
    """Fill in the second tab and press its button; gives the tab's panel."""
    tab.get_by_role("tab", name="Compare").click()
    panel = tab.get_by_role("tabpanel").filter(has=tab.get_by_role("button", name="Make both"))
    panel.get_by_label("Prompt").fill(PROMPT)
    panel.get_by_label("Seconds").fill(str(seconds))
    for label, model in zip(("Model A", "Model B"), models, strict=True):
        choose(panel, label, model)
    panel.get_by_role("button", name="Make both").click()
    return panel


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
    done(tab, ask(tab, model, 4))
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
        assert done(tab, ask(tab, models["b"], 1)).startswith("Done: 3.0 s")


def test_what_cannot_be_is_said_on_the_page(tab: Any, models: dict[str, str]) -> None:
    ask(tab, models["a"], 301)
    tab.wait_for_selector("#status >> text=Not made: seconds: found 301; above 0 and at most 300 are allowed")
    panel = compare(tab, 301, models["a"], models["b"])
    panel.get_by_text("Not made: seconds: found 301; above 0 and at most 300 are allowed").wait_for()
    tab.get_by_role("tab", name="Create").click()
    assert done(tab, ask(tab, models["a"], 0.5)).startswith("Done: 0.5 s")


def test_a_file_that_is_too_large_is_refused_in_words_before_it_is_sent(
    tab: Any, page: Served, models: dict[str, str], tmp_path: Path
) -> None:
    with (tmp_path / "long.wav").open("wb") as file:
        file.truncate(2 * 2**30)  # without a byte on disk
    tab.get_by_role("button", name="More settings").click()
    tab.locator("input[type=file]").last.set_input_files(tmp_path / "long.wav")
    tab.wait_for_selector('text=File(s) exceed the maximum allowed size of 100.0 Mb: "long.wav"')
    assert done(tab, ask(tab, models["a"], 0.5)).startswith("Done: 0.5 s")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def generate(tab: Any) -> Any:
    return tab.get_by_role("button", name="Generate")


def stop(tab: Any) -> Any:
    return tab.get_by_role("button", name="Stop").first


def test_what_is_pressed_during_an_upload_waits_for_it(tab: Any, models: dict[str, str], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", 0.2 * np.random.default_rng(0).standard_normal(32000), 16000)
    network = tab.context.new_cdp_session(tab)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 32000}  # 2 s for the clip
    tab.get_by_role("button", name="More settings").click()
    network.send("Network.emulateNetworkConditions", slow)
    tab.locator("input[type=file]").last.set_input_files(tmp_path / "x.wav")
    tab.wait_for_selector("text=Uploading")
    seed = ask(tab, models["a"], 1)
    tab.wait_for_selector(f"text={UPLOADS}")
    assert generate(tab).is_disabled()
    assert done(tab, seed).startswith("Done: 3.0 s")  # with the two that it goes on from


def test_generate_can_be_pressed_again_when_the_server_has_told_the_end(tab: Any, models: dict[str, str]) -> None:
    """Gradio drops what is pressed before: as a piece is said to be done, its event is not over yet."""
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url) if "/queue/join" in request.url else None)
    seed = ask(tab, models["a"], 2)
    tab.wait_for_selector("button:enabled >> text=Stop")
    tab.evaluate(
        """() => { const said = document.querySelector('#status'), off = () => document.querySelector('button.primary').disabled
          new MutationObserver(() => { if (said.innerText.startsWith('Done')) window.off ??= off() })
            .observe(said, {childList: true, characterData: true, subtree: true}) }"""
    )
    done(tab, seed)
    assert tab.evaluate("window.off")
    tab.get_by_label("Seed").first.fill(str(seed := next(SEEDS)))
    generate(tab).dblclick()
    done(tab, seed)
    tab.wait_for_selector("button:enabled >> text=Generate")
    tab.wait_for_selector("button:disabled >> text=Stop")
    assert len(asked) == 2


def test_who_waits_can_wait_no_more(tab: Any, page: Served, models: dict[str, str]) -> None:
    with web_page.others(page, form(models["a"], seconds=300), 1):
        ask(tab, models["a"], 1)
        tab.wait_for_selector(f"text={WAITS}")
        while not web_page.waiting(page.address):
            time.sleep(0.05)
        stop(tab).click()
        tab.wait_for_selector("#status >> text=Stopped.")
        tab.wait_for_selector("button:enabled >> text=Generate")
        while web_page.waiting(page.address):
            time.sleep(0.05)
    assert done(tab, ask(tab, models["a"], 0.5)).startswith("Done: 0.5 s")


def test_a_full_queue_is_told_once_and_those_who_press_alone(tab: Any, page: Served, models: dict[str, str]) -> None:
    with web_page.others(page, form(models["a"], seconds=300), 17):
        late = visit(tab.context, page)
        ask(late, models["a"], 1)
        late.wait_for_selector("text=application is currently busy")
        assert late.get_by_text("application is currently busy").count() == 1
        late.wait_for_selector(f"#status >> text={FULL}")
    assert done(late, ask(late, models["a"], 0.5)).startswith("Done: 0.5 s")


def test_stop_frees_the_core(tab: Any, page: Served) -> None:
    ask(tab, "shipped-a", 300)
    tab.wait_for_selector("#status >> text=/is made/")
    stop(tab).click()
    tab.wait_for_selector("#status >> text=Stopped.")
    time.sleep(1)
    before = cpu_s(page.pid)
    time.sleep(2)
    assert cpu_s(page.pid) - before < 1.0  # of 2: nothing is made any more


def test_stop_frees_the_core_of_two_pieces_that_are_compared(tab: Any, page: Served) -> None:
    panel = compare(tab, 300, "shipped-a", "shipped-b")
    tab.wait_for_selector("text=Making both…")
    time.sleep(1)
    panel.get_by_role("button", name="Stop").click()
    tab.wait_for_selector("text=Stopped.")
    time.sleep(1)
    before = cpu_s(page.pid)
    time.sleep(2)
    assert cpu_s(page.pid) - before < 1.0  # neither the first nor the second is made any more


def test_a_reload_midway_frees_the_core_and_the_page_works_again(tab: Any, models: dict[str, str]) -> None:
    ask(tab, "shipped-a", 300)
    tab.wait_for_selector("#status >> text=/is made/")
    tab.reload()
    assert done(tab, ask(tab, models["a"], 0.5)).startswith("Done: 0.5 s")


def test_two_people_at_once_get_what_each_asked_for(browser: Any, page: Served, models: dict[str, str]) -> None:
    contexts = [browser.new_context() for _ in range(2)]
    tabs = [visit(context, page) for context in contexts]
    seeds = [ask(tab, models["a"], seconds) for tab, seconds in zip(tabs, (2.0, 1.0), strict=True)]
    for tab, seconds, seed in zip(tabs, (2.0, 1.0), seeds, strict=True):
        assert done(tab, seed).startswith(f"Done: {seconds:.1f} s")
        tab.get_by_role("button", name="Make it again").click()
        assert f"--seconds {seconds:g}" in tab.locator("code, .cm-content").first.inner_text()
    for context in contexts:
        context.close()


def test_a_blind_vote_is_one_that_compare_reads(tab: Any, models: dict[str, str], tmp_path: Path) -> None:
    panel = compare(tab, 1, models["a"], models["b"])
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
    done(tab, ask(tab, models["a"], 1))
    for name in ("Create", "Compare", "Runs", "About the model"):
        seen = [one for one in tab.get_by_role("tab", name=name).all() if one.is_visible()]
        if not seen:  # a narrow window folds the last tab away
            tab.get_by_role("button", name="More tabs").click()
            seen = [tab.locator(".overflow-dropdown button", has_text=name)]
        seen[0].click()
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, name
