"""How soon the web page sounds, and whether its memory stays flat: the real page with the shipped models, in headless Chromium.

`python -m benchmarks.web_page` takes about 5 minutes on two cores. It needs Chromium, ffmpeg and playwright (pip install playwright).
Each piece is made in a new tab. First sound: from the click to the moment at which the streaming player played its first sample. Stalls: how often
that player ran dry. Streamed: the sound that the browser got, decoded, beside the file that can be downloaded. Memory: resident, after requests.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from gradio_client import Client

from musicgen_lite.io import audio
from tests.support import web_page
from tests.support.web_page import PROMPT, Served

MODELS = ("shipped-a", "shipped-b")
DRY = "document.addEventListener('waiting', event => { if (event.target.currentTime > 0) window.dry = (window.dry || 0) + 1 }, true)"


def heard(browser: Any, page: Served, model: str, seconds: float) -> dict[str, float]:
    """One piece: seconds to its first sound and to its end, and how often the player ran dry before."""
    tab = browser.new_page()
    tab.add_init_script(DRY)
    playlists: list[str] = []
    tab.on("request", lambda request: playlists.append(request.url) if request.url.endswith(".m3u8") else None)
    tab.goto(page.address)
    tab.get_by_label("Prompt").first.fill(PROMPT)
    tab.get_by_label("Seconds").first.fill(str(seconds))
    choice = tab.get_by_label("Model").first
    choice.fill(model)
    choice.press("Enter")
    tab.evaluate(web_page.SOUND)
    begin = time.perf_counter()
    tab.get_by_role("button", name="Generate").click()
    tab.wait_for_selector("text=/^Done:/", timeout=300_000)
    whole = time.perf_counter() - begin
    found = {"first": tab.evaluate("window.sound"), "whole": whole, "stalls": tab.evaluate("window.dry || 0")}
    samples, rate = web_page.streamed(playlists[-1], page.folder)
    tab.close()
    return {**found, "streamed_s": len(samples) / rate, "streamed_db": audio.rms_db(samples)}


def memory(page: Served, requests: int, every: int) -> list[float]:
    """Resident MB after each `every` of so many requests of 10 s, each from a new visitor."""
    found = [page.memory]
    for number in range(1, requests + 1):
        client = Client(page.address, verbose=False, download_files=False)
        arguments = [MODELS[0], PROMPT, 10.0, 2.0, 1, number, None, None, None, None]
        assert client.predict(*arguments, api_name="/create")[1].startswith("Done")
        client.close()
        if number % every == 0:
            found.append(page.memory)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--pieces", type=int, default=5, help="of each model")
    parser.add_argument("--wait", type=float, default=20.0, help="seconds in which the page may warm its models")
    parser.add_argument("--requests", type=int, default=50, help="while memory is watched; 0 for none")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, web_page.served(Path(folder) / "page") as page:
        time.sleep(given.wait)
        with web_page.browser() as browser:
            for model in MODELS:
                pieces = [heard(browser, page, model, given.seconds) for _ in range(given.pieces)]
                shown = ", ".join(f"{key} {median(piece[key] for piece in pieces):.2f}" for key in pieces[0])
                firsts = " ".join(f"{piece['first']:.2f}" for piece in pieces)
                print(
                    f"{model}: medians of {given.pieces}: {shown}; each first: {firsts}; load {os.getloadavg()[0]:.1f}",
                    flush=True,
                )
        if given.requests:
            found = memory(page, given.requests, max(1, given.requests // 10))
            print("memory, MB:", " ".join(f"{one:.0f}" for one in found))


if __name__ == "__main__":
    main()
