"""The page as it is served: a real process, spoken to as a browser or a program would."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file

from musicgen_lite.app.models import shipped_names
from tests.support.web_page import PROMPT, Served, create_event, join, served, waiting, without_network

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
EXAMPLES = "https://github.com/gradio-app/gradio/raw/main/test/test_files/"  # of what a program may send; no browser loads them


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


def test_the_first_sound_that_a_browser_finds_lasts_until_it_asks_again(address: str, models: dict[str, str]) -> None:
    """That is a second later, as no segment is longer."""
    steps = connect(address).submit(*form(models["a"], PROMPT, 4.0), api_name="/create")
    url = next(sound["url"] for sound, *_ in steps if sound and sound.get("is_stream"))
    lengths = [float(found) for found in re.findall(r"#EXTINF:([\d.]+)", httpx.get(url).text)]
    assert max(lengths) <= 0.5
    assert sum(lengths) > 1.25


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
    (tmp_path / "link.wav").symlink_to(tmp_path / "text.wav")
    soundfile.write(tmp_path / "long.flac", 0.1 * np.sin(np.arange(8000 * 400) / 5), 8000)
    film = ["-f", "lavfi", "-i", "testsrc=duration=1:size=64x64", "-y", str(tmp_path / "film.mp4")]
    subprocess.run(["ffmpeg", "-loglevel", "error", *film], check=True)
    cases: list[tuple[list[Any], dict[str, Path], str]] = [
        ([models["a"], " "], {}, "prompt: it is empty"),
        ([models["a"], PROMPT, 301], {}, "seconds: found 301; above 0 and at most 300 are allowed"),
        ([models["a"], "テクノ"], {}, "the model's text encoder does not know"),
        ([models["a"], PROMPT, 1.0, 100], {}, "candidates: found 100"),
        ([models["b"]], {"style": tmp_path / "text.wav"}, "text.wav: not audio that can be read"),
        ([models["b"]], {"style": tmp_path / "empty.wav"}, "empty.wav"),
        ([models["b"]], {"style": tmp_path / "film.mp4"}, "film.mp4: not audio that can be read"),
        ([models["a"]], {"continued": tmp_path / "link.wav"}, "link.wav: not audio that can be read"),
        ([models["a"]], {"continued": tmp_path / "long.flac"}, "long.flac: it is longer than 300 s"),
        ([models["a"]], {"style": tmp_path / "text.wav"}, "this model takes no audio prompt"),
    ]
    for arguments, clips, message in cases:
        said = create(client, *arguments, **clips)
        assert said[-2].startswith("Not made: ")
        assert message in said[-2]
        assert message in said[-1]
        assert str(tmp_path) not in "".join(said)
    assert create(client, models["a"])[-1].startswith("Done")


def test_no_file_of_the_machine_can_be_had(page: Served, models: dict[str, str]) -> None:
    for name in ("params.yaml", "mlflow.db"):
        (page.folder / name).write_text("secret")
    (temporary,) = page.folder.glob("musicgen-lite-app-*")
    (temporary / "link.wav").symlink_to("/etc/passwd")
    own = [str(page.folder / name) for name in ("params.yaml", "mlflow.db", "server.log")]
    there = ["/etc/passwd", models["a"], "../../../../etc/passwd", "/proc/self/environ", "params.yaml", *own]
    for path in [*there, f"{temporary}/../mlflow.db", f"{temporary}/link.wav"]:
        answer = httpx.get(f"{page.address}gradio_api/file={path}")
        assert answer.status_code in (403, 404), path
    for position in (8, 9):  # style and continued
        for path in (*there, f"{temporary}/link.wav"):
            arguments = form(models["b"])
            arguments[position] = {"path": path, "meta": {"_type": "gradio.FileData"}}
            error = connect(page.address).submit(*arguments, api_name="/create").exception()
            assert error is not None, path
            assert "root:" not in str(error)
    assert "model: '/etc/passwd' is not offered here" in create(connect(page.address), "/etc/passwd")[-1]
    for file in (temporary / "link.wav", page.folder / "params.yaml", page.folder / "mlflow.db"):
        file.unlink()


def test_what_is_uploaded_stays_in_the_temporary_folder_under_a_plain_name(page: Served, tmp_path: Path) -> None:
    (temporary,) = page.folder.glob("musicgen-lite-app-*")
    for name in ("../../../etc/evil.wav", "/etc/evil.wav", "..", "a" * 400 + ".wav"):
        answer = httpx.post(f"{page.address}gradio_api/upload", files={"files": (name, b"x")})
        assert answer.status_code in (200, 400), name
        for path in answer.json() if answer.status_code == 200 else []:
            assert Path(path).resolve().is_relative_to(temporary)
            assert Path(path).read_bytes() == b"x"
    assert not Path("/etc/evil.wav").exists()


def test_two_gigabytes_are_refused_before_a_byte_is_kept(page: Served) -> None:
    size = 2 * 2**30

    def on_disk() -> int:
        return sum(file.stat().st_size for file in page.folder.rglob("*") if file.is_file())

    def chunks() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="big.wav"\r\n\r\n'
        while True:
            yield bytes(2**20)

    before = on_disk()
    for length in ({"Content-Length": str(size)}, {}):
        headers = {"Content-Type": "multipart/form-data; boundary=x", **length}
        try:
            answer = httpx.post(f"{page.address}gradio_api/upload", content=chunks(), headers=headers, timeout=60)
        except httpx.WriteError:  # it hangs up on those who go on sending
            continue
        assert answer.status_code in (411, 413)
        assert "a file of at most 100 MB can be uploaded" in answer.text
    assert on_disk() < before + 2**20
    assert httpx.get(page.address).status_code == 200


def test_a_model_file_that_is_removed_is_named_and_the_page_goes_on(page: Served, models: dict[str, str]) -> None:
    name = "removed.safetensors"
    kept = (page.folder / name).read_bytes()
    assert create(connect(page.address), name)[-1].startswith("Done")
    (page.folder / name).unlink()
    assert "removed.safetensors: there is no model file" in create(connect(page.address), name)[-1]
    assert create(connect(page.address), models["a"])[-1].startswith("Done")
    (page.folder / name).write_bytes(kept)
    assert create(connect(page.address), name)[-1].startswith("Done")


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


def test_programs_find_what_the_docs_name_and_nothing_else(address: str) -> None:
    published = httpx.get(f"{address}gradio_api/info").json()
    assert not published["unnamed_endpoints"]
    (named,) = re.findall(r"Programs call .*?\.\s", (ROOT / "docs" / "usage.md").read_text(encoding="utf-8"), re.DOTALL)
    assert list(published["named_endpoints"]) == re.findall(r"`(/\w+)`", named)


def test_the_other_tabs_say_what_is_there(address: str, models: dict[str, str]) -> None:
    client = connect(address)
    assert "no mlflow.db here" in client.predict(api_name="/runs")[0]
    card = client.predict(models["b"], api_name="/about")
    assert "| type | B |" in card
    assert "What it cannot do" in card


def test_what_the_page_would_ask_of_the_network_would_be_seen(tmp_path: Path) -> None:
    """`served` has each page of these tests run so, and fails where one has asked for anything."""
    script = "import socket\nfor host in ('127.0.0.1', '192.0.2.1', 'example.org'):\n"
    script += "  try: socket.create_connection((host, 9), 1)\n  except OSError as error: print(error)"
    environment = {**os.environ, **without_network(tmp_path / "refused.log")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "refused" in done.stdout.splitlines()[0]
    asked = (tmp_path / "refused.log").read_text().splitlines()
    assert asked == ["socket.getaddrinfo 192.0.2.1", "socket.getaddrinfo example.org"]


def test_a_browser_is_told_to_load_nothing_from_elsewhere(address: str) -> None:
    page = httpx.get(address)
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    found = re.findall(r"https?://[^\s\"'<\\]*", page.text)
    assert not [one for one in found if not one.startswith((address[:-1], EXAMPLES))]
    config = httpx.get(f"{address}config").json()
    assert config["analytics_enabled"] is False


def test_of_200_requests_at_once_those_beyond_the_queue_are_refused_in_words(
    address: str, models: dict[str, str]
) -> None:
    event, short = create_event(address), form(models["a"], seconds=0.1)
    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda number: join(address, event, short, f"visitor-{number}"), range(200)))
    refused = [answer for answer in answers if answer.status_code == 503]
    assert {answer.status_code for answer in answers} == {200, 503}
    assert len(refused) >= 200 - 2 * 17  # 16 wait, one runs; some are done before the last come
    assert "queue is full" in refused[0].text.lower()
    while waiting(address):
        time.sleep(0.5)
    assert create(connect(address), models["a"], seconds=0.1)[-1].startswith("Done")
    # Nobody gets past the queue.
    direct = httpx.post(f"{address}gradio_api/run/create", json={"data": form(models["a"])})
    assert direct.status_code == 404


def test_without_a_model_the_page_says_what_to_do_and_a_password_keeps_others_out(tmp_path: Path) -> None:
    with served(tmp_path / "server", "--auth", "me:secret", "--root-path", "/music") as page:
        address = page.address
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
    assert "launch()" not in done.stderr  # how a program would do it
    assert "name another with --port, unless the page runs there already" in done.stderr
    assert "Traceback" not in done.stderr
