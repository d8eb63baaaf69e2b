"""The page as it is served: a real process, spoken to as a browser or a program would."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file

from musicgen_lite.app.models import shipped_names

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PROMPT = "A fast techno beat with a synth lead."


@contextlib.contextmanager
def served(folder: Path, *options: object) -> Iterator[str]:
    """The address of the page, with whatever port is free; its process must end by Ctrl-C and leave no file."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "musicgen_lite", "app", "--port", "0", "--threads", "1", *map(str, options)]
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        # A shell that starts this in the background would have it ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        assert process.stdout
        said = []
        for line in process.stdout:
            said.append(line)
            found = re.search(r"MusicGen-Lite: (http://\S+)", line)
            if found:
                yield found[1]
                break
        else:
            raise AssertionError("".join(said))
    finally:
        process.send_signal(2)
        output = process.communicate(timeout=120)[0]
    # Gradio prints what it refuses by itself, such as a model that the page does not offer.
    assert output.count("Traceback") == output.count("\ngradio.exceptions.Error:"), output[-4000:]
    assert not list(folder.glob("musicgen-lite-app-*"))


@pytest.fixture(scope="module")
def address(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("server"), *(f"--model={path}" for path in models.values())) as found:
        yield found


def connect(address: str, **options: Any) -> Client:
    return Client(address, verbose=False, download_files=False, **options)


def form(model: str, prompt: str = PROMPT, seconds: float = 1.0, candidates: int = 1, **clips: Any) -> list[Any]:
    """The arguments of /create, in the order of the page's fields."""
    clip = {name: handle_file(path) for name, path in clips.items()}
    return [model, prompt, seconds, 2.0, candidates, 0, None, None, clip.get("style"), clip.get("continued")]


def create(client: Client, *arguments: Any, **clips: Any) -> list[str]:
    """What the page says while it makes a piece."""
    job = client.submit(*form(*arguments, **clips), api_name="/create")
    return [step[1] for step in job] + ([] if job.exception() is None else [str(job.exception())])


def test_music_is_made_in_steps_and_heard_in_between(address: str, models: dict[str, str]) -> None:
    said = create(connect(address), models["a"], PROMPT, 3.0, 2)
    assert said[0] == "Starting…"
    assert [one for one in said if "of candidate 1 is made" in one]
    assert said[-1].startswith("Done: 3.0 s in ")


@pytest.mark.parametrize(
    ("name", "subtype"), [("x.wav", "PCM_16"), ("x.mp3", None), ("x.flac", "PCM_24"), ("48k stereo.wav", "PCM_16")]
)
def test_each_kind_of_upload_is_read(
    address: str, models: dict[str, str], tmp_path: Path, name: str, subtype: str | None
) -> None:
    rate, channels = (48000, 2) if "48k" in name else (16000, 1)
    wave = 0.2 * np.sin(np.arange(2 * rate) / rate * 2 * np.pi * 330)
    soundfile.write(tmp_path / name, np.stack([wave] * channels, axis=1), rate, subtype=subtype)
    assert create(connect(address), models["b"], style=tmp_path / name)[-1].startswith("Done: 1.0 s")
    assert create(connect(address), models["a"], continued=tmp_path / name)[-1].startswith("Done: 3.")


def test_what_cannot_be_is_said_and_the_page_goes_on(address: str, models: dict[str, str], tmp_path: Path) -> None:
    client = connect(address)
    (tmp_path / "text.wav").write_text("this is no audio")
    (tmp_path / "empty.wav").write_bytes(b"")
    cases: list[tuple[list[Any], dict[str, Path], str]] = [
        ([models["a"], " "], {}, "prompt: it is empty"),
        ([models["a"], PROMPT, 301], {}, "seconds: found 301; above 0 and at most 300 are allowed"),
        ([models["a"], "テクノ"], {}, "the model's text encoder does not know"),
        ([models["a"], PROMPT, 1.0, 100], {}, "candidates: found 100"),
        ([models["b"]], {"style": tmp_path / "text.wav"}, "text.wav: not audio that can be read"),
        ([models["b"]], {"style": tmp_path / "empty.wav"}, "empty.wav"),
        ([models["a"]], {"style": tmp_path / "text.wav"}, "this model takes no audio prompt"),
    ]
    for arguments, clips, message in cases:
        said = create(client, *arguments, **clips)[-1]
        assert message in said
        assert str(tmp_path) not in said
    assert create(client, models["a"])[-1].startswith("Done")


def test_no_file_of_the_machine_can_be_had(address: str, models: dict[str, str]) -> None:
    for path in ("/etc/passwd", models["a"], "../../../../etc/passwd", "/proc/self/environ"):
        answer = httpx.get(f"{address}gradio_api/file={path}")
        assert answer.status_code in (403, 404), path
    for name in ("style", "continued"):
        clip = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
        arguments = form(models["b"])
        arguments[8 if name == "style" else 9] = clip
        job = connect(address).submit(*arguments, api_name="/create")
        assert job.exception() is not None
        assert "root:" not in str(job.exception())
    with contextlib.suppress(Exception):  # a name that is not among the choices
        said = create(connect(address), "/etc/passwd")
        assert not said[-1].startswith("Done")
    upload = httpx.post(f"{address}gradio_api/upload", files={"files": ("../../../etc/evil.wav", b"x")}).json()
    assert "/etc/evil" not in upload[0]
    assert "musicgen-lite-app-" in upload[0]


def test_a_run_that_is_cancelled_ends_and_frees_the_core(address: str, models: dict[str, str]) -> None:
    client = connect(address)
    job = client.submit(*form(models["a"], PROMPT, 300.0), api_name="/create")
    steps = iter(job)
    while "is made" not in next(steps)[1]:
        pass
    client.predict(api_name="/cancel")
    assert list(steps)[-1][1] == "Stopped."
    assert create(connect(address), models["a"])[-1].startswith("Done")


def test_two_settings_are_heard_blind(address: str, models: dict[str, str]) -> None:
    first, second, said = connect(address).predict(
        PROMPT, 0.6, 0, models["a"], 2.0, models["b"], 3.0, api_name="/compare"
    )
    assert said == "Which one do you prefer?"
    for sound in (first, second):
        assert models["a"] not in str(sound)
    with pytest.raises(Exception, match="both sides are"):
        connect(address).predict(PROMPT, 0.6, 0, models["a"], 2.0, models["a"], 2.0, api_name="/compare")


def test_the_other_tabs_say_what_is_there(address: str, models: dict[str, str]) -> None:
    client = connect(address)
    assert "no mlflow.db here" in client.predict(api_name="/runs")[0]
    card = client.predict(models["b"], api_name="/about")
    assert "| type | B |" in card
    assert "What it cannot do" in card


def test_a_browser_is_told_to_load_nothing_from_elsewhere(address: str) -> None:
    page = httpx.get(address)
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert "fonts.g" not in page.text
    config = httpx.get(f"{address}config").json()
    assert config["analytics_enabled"] is False


def test_a_queue_that_is_full_refuses_in_words(models: dict[str, str], tmp_path: Path) -> None:
    with served(tmp_path / "server", f"--model={models['a']}", "--waiting", "2") as address:
        clients = [connect(address) for _ in range(6)]
        jobs = [client.submit(*form(models["a"], PROMPT, 300.0), api_name="/create") for client in clients]
        refused = [job for job in jobs if _refused(job)]
        assert refused
        assert "queue is full" in str(refused[0].exception()).lower()
        # To stop is never refused, and lets the next one in.
        waiting = [(client, job) for client, job in zip(clients, jobs, strict=True) if job not in refused]
        while any(not job.done() for _, job in waiting):
            for client, _ in waiting:
                answer = httpx.post(
                    f"{address}gradio_api/run/cancel", json={"data": [], "session_hash": client.session_hash}
                )
                assert answer.status_code == 200
                time.sleep(0.2)
        assert any(job.outputs()[-1][1] == "Stopped." for _, job in waiting)


def _refused(job: Any) -> bool:
    try:
        return job.exception(timeout=3) is not None
    except Exception:  # it waits, or runs
        return False


def test_without_a_model_the_page_says_what_to_do_and_a_password_keeps_others_out(tmp_path: Path) -> None:
    with served(tmp_path / "server", "--auth", "me:secret", "--root-path", "/music") as address:
        assert httpx.get(f"{address}config").status_code == 401
        with pytest.raises(Exception, match=r"(?i)credentials|auth|login|401"):
            connect(address)
        session = httpx.Client(base_url=address, follow_redirects=True)
        assert session.post("login", data={"username": "me", "password": "wrong"}).status_code == 400
        assert session.post("login", data={"username": "me", "password": "secret"}).status_code == 200
        config = session.get("config")
        assert config.status_code == 200
        assert "/music" in config.json()["root"]
        assert ("No model is here yet" in config.text) is not any(shipped_names())


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "musicgen_lite", "app", "--port", str(port)],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert f"error: port {port} of 127.0.0.1: no server can be started there" in done.stderr
    assert "Traceback" not in done.stderr


def test_in_a_browser_sound_is_heard_and_nothing_is_asked_of_the_network(address: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright here (pip install playwright)")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here (apt-get install chromium)")
    arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=arguments)
        for width in (1400, 400):
            page = browser.new_page(viewport={"width": width, "height": 900})
            elsewhere: list[str] = []
            page.on("request", lambda request, found=elsewhere: found.append(request.url))
            page.goto(address)
            page.get_by_label("Prompt").first.fill(PROMPT)
            page.get_by_label("Seconds").first.fill("4")
            page.get_by_role("button", name="Generate").click()
            page.wait_for_selector("text=/^Done:/", timeout=300_000)
            page.wait_for_function("[...document.querySelectorAll('audio')].some(a => Math.abs(a.duration - 4) < 0.2)")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert not [url for url in elsewhere if not url.startswith((address, "data:", "blob:"))]
        browser.close()
