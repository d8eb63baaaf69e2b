"""The comparison page is whole in itself, hides which run is which, and plays everything at one loudness."""

import csv
import html as entities
import io
import itertools
import json
import re
import shutil
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from musicgen_lite.io import audio
from musicgen_lite.report.comparison import compare
from musicgen_lite.report.comparison_page import comparison_page, trials
from musicgen_lite.report.comparison_sounds import gather, loudness
from musicgen_lite.report.comparison_text import comparison_text
from musicgen_lite.report.votes import read_votes
from tests.support.pages import Reader, decoded
from tests.support.runs_of_report import IDS, TRICKY, result, sounds

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
RUNS = (result("first"), result("other", shift=0.25))


@pytest.fixture(scope="module")
def page() -> str:
    return comparison_page(compare(RUNS), prompts=2, seed=3)


@pytest.fixture(scope="module")
def read(page: str) -> Reader:
    return Reader(page)


def test_nothing_is_asked_of_the_network_and_the_policy_forbids_it(page: str, read: Reader) -> None:
    for tag, attributes in read.tags:
        for name in ("src", "srcset", "href", "poster", "action"):
            assert attributes.get(name, "data:").startswith(("data:", "#")), (tag, name)
    assert "default-src 'none'" in page
    assert not re.search(r"url\(|@import|https?://", page)
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)


def test_every_player_has_its_sound_at_the_common_loudness(read: Reader) -> None:
    players = [tag for tag in read.all("audio") if "src" in tag]
    # The fixed prompt has what two runs made; a test prompt has the real clip and its reconstruction too, each once.
    assert len(players) == 2 + 2 * 4
    shown = gather(compare(RUNS), 2)
    levels = [loudness(*audio.decode(decoded(tag["src"], "audio/mpeg"))) for tag in players]
    assert levels == pytest.approx([shown.loudness] * len(levels), abs=0.2)
    before = [clip.loudness for prompt in shown.prompts for clip in prompt.clips]
    assert max(before) - min(before) > 5, "the fixture's clips are alike before"
    assert max(audio.peak(audio.decode(decoded(tag["src"], "audio/mpeg"))[0]) for tag in players) < 1
    assert len([tag for tag in read.all("img") if tag.get("width") == "500"]) == len(players)


def test_the_limit_counts_test_prompts_and_missing_ones_are_told() -> None:
    fewer = sounds(200)
    fewer = fewer[fewer["prompt"] != IDS[1]]
    shown = gather(compare([RUNS[0], result("fewer", sounds=fewer)]), 12)
    assert [prompt.id for prompt in shown.prompts] == ["fixed-0", IDS[0], IDS[2]]
    assert shown.note == "2 of 3 test prompts are in all runs with the same caption."
    without = gather(compare([RUNS[0], result("old", sounds=None)]), 12)
    assert without.prompts == ()
    assert without.note.startswith("old: written before runs kept their sounds")


def test_trials_pair_every_prompt_once_in_a_seeded_order(page: str) -> None:
    found = re.search(r'id="trials">(.*?)</script>', page, re.DOTALL)
    assert found
    given = json.loads(found.group(1))
    assert given["labels"] == ["first", "other"]
    assert sorted(one["prompt"] for one in given["trials"]) == ["clip-0", "clip-1", "fixed-0"]
    assert TRICKY in [one["caption"] for one in given["trials"]]
    three = gather(compare([*RUNS, result("third", shift=0.5)]), 3)
    drawn = [trials(three, 3, seed) for seed in range(40)]
    assert drawn[0] == trials(three, 3, 0)
    pairs = {(prompt, pair) for prompt in ("fixed-0", *IDS[:3]) for pair in itertools.combinations(range(3), 2)}
    for one in drawn:
        assert {(trial["prompt"], tuple(sorted(trial["runs"]))) for trial in one} == pairs
        assert len(one) == len(pairs)
        made = {clip.id: clip.run for prompt in three.prompts for clip in prompt.clips if clip.kind == "generated"}
        assert all([made[clip] for clip in trial["clips"]] == trial["runs"] for trial in one)
    # Sides are fair: the lower run is first in about half of 480 trials (5 standard deviations).
    lower_first = sum(trial["runs"][0] < trial["runs"][1] for one in drawn for trial in one)
    assert abs(lower_first - 240) < 55
    assert len({tuple(trial["prompt"] for trial in one) for one in drawn}) > 30


def test_metrics_intervals_and_differences_are_shown(read: Reader) -> None:
    for part in ("CLAP score", "0.250 to 0.250", "newcomer", "other − first", "1,234"):
        assert part in read.text
    assert "<script>" in read.text, "the caption is shown as text"


# Takes the test to its end in the page itself: hears both clips of a trial, prefers the first, the second, neither.
LISTENER = """
<script>
(async () => {
  const wait = async (ready) => { while (!ready()) await new Promise((done) => setTimeout(done, 20)); };
  const box = document.getElementById("blind");
  box.querySelector('[data-do="start"]').click();
  let number = 0, early = 0, moved = 0;
  while (!box.querySelector('[data-step="trial"]').hidden) {
    if (!box.querySelector('[data-vote="0"]').disabled) early += 1;
    for (const player of box.querySelectorAll("[data-side]")) {
      player.muted = true;
      player.playbackRate = 4;
      await player.play();
      await wait(() => player.currentTime > 0.95 * player.duration || player.ended);
      moved += 1;
    }
    await wait(() => !box.querySelector('[data-vote="0"]').disabled);
    box.querySelector(`[data-vote="${["0", "1", ""][number % 3]}"]`).click();
    number += 1;
  }
  document.body.dataset.csv = decodeURIComponent(box.querySelector("[data-save]").href.split(",").slice(1).join(","));
  document.body.dataset.told = JSON.stringify({ early, moved, number, title: document.title });
  document.body.dataset.asked = performance.getEntriesByType("resource").filter((one) => !one.name.startsWith("data:")).length;
})();
</script>
"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here to take the blind test in")
def test_a_browser_takes_the_blind_test_and_its_csv_is_read(page: str, tmp_path: Path) -> None:
    head = page.replace("</body>", f"{LISTENER}</body>").removesuffix("</html>\n").encode()

    class Slow(BaseHTTPRequestHandler):
        """Gives the page but for its end, which comes when the test is over: Chromium prints a page that has loaded."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(head)
            self.wfile.flush()
            time.sleep(8)
            self.wfile.write(b"</html>")

        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required",
            f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--dump-dom",
            f"http://127.0.0.1:{server.server_port}/",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        server.shutdown()
    assert asked == ["/"], "the page asks for more than itself"
    kept = {
        name: entities.unescape(value) for name, value in re.findall(r' data-(csv|told|asked)="([^"]*)"', done.stdout)
    }
    told = json.loads(kept["told"])
    assert (told["early"], told["moved"], told["number"]) == (0, 6, 3)
    assert told["title"] == "first, other – MusicGen-Lite"
    assert kept["asked"] == "0"
    assert not re.findall(r"CONSOLE.*", done.stderr)
    (tmp_path / "votes.csv").write_text(kept["csv"], encoding="utf-8")
    votes = read_votes([tmp_path / "votes.csv"])
    assert [vote.preferred for vote in votes] == [votes[0].first, votes[1].second, ""]
    assert {vote.prompt for vote in votes} == {"fixed-0", "clip-0", "clip-1"}
    assert [row["trial"] for row in csv.DictReader(io.StringIO(kept["csv"]))] == ["1", "2", "3"]


@pytest.mark.slow
def test_a_published_model_is_named_and_said_not_to_be_trained_here() -> None:
    params = {"model.type": "musicgen", "model.pattern": "delay", "model.name": "facebook/musicgen-small", "seed": "0"}
    curves = ({"step": 0.0, "val_loss": 5.0},)
    peer = result("peer", params=params, tags={"published": "facebook/musicgen-small@0123"}, curves=curves)
    comparison = compare((RUNS[0], peer))
    page, terminal = comparison_page(comparison, prompts=1, seed=0), io.StringIO()
    assert "not here: facebook/musicgen-small@0123" in page
    assert "Last validation: first 5.333, peer 5.000." in page
    comparison_text(comparison, terminal)
    assert "peer  MusicGen facebook/musicgen-small, delay" in terminal.getvalue()
