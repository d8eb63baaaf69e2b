"""`musicgen-lite generate` into a pipe, and for many prompts into a folder."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from typer.testing import CliRunner

import musicgen_lite
from musicgen_lite.cli import app
from musicgen_lite.generator import Generator
from tests.test_generator import save

pytestmark = pytest.mark.slow
PROMPT = "A fast techno beat with a synth lead."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("model") / "a.safetensors", "a")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "musicgen_lite", "generate", *map(str, arguments), "--threads", "1"]


def test_a_pipe_gets_a_wav_and_nothing_else(model: Path) -> None:
    done = subprocess.run(
        command(PROMPT, "--model", model, "--seconds", 1.51, "--seed", 3, "-o", "-", "--verbose"),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert len(done.stdout) == 44 + 2 * 24160
    samples, rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
    whole = musicgen_lite.load(model, clap="").generate(PROMPT, seconds=1.51, seed=3, candidates=1)
    assert rate == whole.rate
    # Half a step of 16 bits, and rounding.
    assert np.abs(samples - whole.samples.clip(-1, 1)).max() < 2 / 32768
    assert b"x real time" in done.stderr
    assert re.search(rb"kernels for .* on 1 thread, weights float32, keys and values float32\n", done.stderr)


def test_a_format_of_keys_and_values_that_is_not_there_is_named(model: Path) -> None:
    asked = CliRunner().invoke(app, ["generate", PROMPT, "--model", str(model), "--kv-cache", "int8"])
    assert asked.exit_code == 2
    assert "kv_cache: found 'int8'; on cpu auto, float32, bfloat16 are allowed" in asked.output


def test_a_player_hears_the_beginning_before_the_end_is_made_and_may_leave(model: Path) -> None:
    running = subprocess.Popen(
        command(PROMPT, "--model", model, "--seconds", 300, "-o", "-"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert running.stdout
    assert running.stderr
    assert running.stdout.read(44 + 16000)[:4] == b"RIFF"
    assert running.poll() is None
    running.stdout.close()
    said = running.stderr.read().decode()
    assert running.wait() == 1
    assert "standard output was closed by its reader: stopped" in said
    assert "Traceback" not in said
    assert "Exception" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a prompt, or a file of them with --prompts"),
        ([PROMPT, "-o", "-", "--candidates", "2"], "candidates: found 2; with -o - the first is heard"),
        ([PROMPT, "--prompts", "good.txt"], "--prompts: the file has the prompts; leave out 'A fast"),
        (["--prompts", "good.txt", "-o", "-"], "-o -: many prompts are written to a folder"),
        (["--prompts", "good.txt", "-o", "good.txt"], "good.txt: with --prompts the output is a folder"),
        (["--prompts", "good.txt", "-o", "/proc/none"], "nothing can be written here"),
        (["--prompts", "gone.txt", "-o", "out"], "gone.txt: no such file"),
        (["--prompts", "good.xlsx", "-o", "out"], "good.xlsx: prompts are read from a .txt"),
        (["--prompts", "latin.txt", "-o", "out"], "latin.txt: not UTF-8"),
        (["--prompts", "empty.txt", "-o", "out"], "empty.txt: holds no prompt"),
        (["--prompts", "other.csv", "-o", "out"], "other.csv: no column prompt; found caption, seed"),
        (["--prompts", "torn.csv", "-o", "out"], "torn.csv: not a CSV table, at line 1"),
    ],
)
def test_what_cannot_be_is_named_before_a_model_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in {
        "good.txt": b"A piano.\n", "latin.txt": "Caf\u00e9.".encode("latin-1"), "empty.txt": b"\n \n",
        "other.csv": b"caption,seed\nA piano.,1\n", "torn.csv": b'prompt\n"A piano.\n', "good.xlsx": b"",
    }.items():  # fmt: skip
        Path(name).write_bytes(content)
    done = CliRunner().invoke(app, ["generate", *arguments, "--model", "gone.safetensors"])
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert not Path("out").exists()


TABLE = """prompt,id,seconds,seed,tempo,mood
A piano.,one,0.4,,,calm
,two,,,,
A guitar.,three,301,,,
A guitar.,four,0.4,x,,
A guitar.,five,0.4,-1,,
A guitar.,six,many,1,,
A guitar.,seven,0.4,1,5,
"A guitar, loud.",eight,0.4
A piano.,one,0.4,,,again
テクノ,nine,0.4,,,
"""


def test_every_bad_row_is_named_and_nothing_is_made(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text(TABLE, encoding="utf-8")
    done = CliRunner().invoke(app, ["generate", "--prompts", "rows.csv", "-o", "out", "--model", str(model)])
    assert done.exit_code == 2
    assert "rows.csv: 8 bad rows; nothing was made" in done.stderr
    for said in (
        "line 3: prompt: it is empty", "line 4: seconds: found 301", "line 5: seed: 'x' is no whole number",
        "line 6: seed: found -1", "line 7: seconds: 'many' is no number", "line 8: tempo: found 5",
        "line 9: as many cells as there are columns", "line 10: asks for the same as line 2",
    ):  # fmt: skip
        assert said in done.stderr
    # What only the model's text encoder can tell.
    kept = [line for number, line in enumerate(TABLE.splitlines(), 1) if number in (1, 2, 11)]
    Path("rows.csv").write_text("\n".join(kept), encoding="utf-8")
    done = CliRunner().invoke(app, ["generate", "--prompts", "rows.csv", "-o", "out", "--model", str(model)])
    assert done.exit_code == 2
    assert "line 3: prompt: the model's text encoder does not know 'テ'" in done.stderr
    assert not list(Path("out").glob("*.wav"))


def index(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "index.csv").set_index("file")


def test_a_file_of_prompts_becomes_a_folder_and_only_what_is_new_is_made_again(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    batches: list[int] = []
    whole = Generator.generate_all

    def counted(self: Generator, requests: Any, **options: Any) -> Any:
        batches.append(len(requests))
        return whole(self, requests, **options)

    monkeypatch.setattr(Generator, "generate_all", counted)
    Path("rows.csv").write_text("prompt,id,seconds,seed\nA piano.,../one,0.4,\nA guitar.,,0.6,7\nA drum.,,0.4,\n")
    options = ["--model", str(model), "--seconds", "0.5", "--candidates", "2", "--threads", "1"]
    done = CliRunner().invoke(app, ["generate", "--prompts", "rows.csv", "-o", "out", *options])
    assert done.exit_code == 0, done.output
    assert batches == [2, 1]
    first = index(Path("out"))
    assert list(first["prompt"]) == ["A piano.", "A guitar.", "A drum."]
    assert {len(soundfile.read(Path("out") / name)[0]) for name in first.index} == {6400, 9600}
    assert [name.rsplit("-", 1)[0] for name in first.index] == ["one", "a-guitar", "a-drum"]
    # As the prompt alone, bit by bit.
    alone = musicgen_lite.load(model).generate("A guitar.", seconds=0.6, seed=7, candidates=2)
    alone.write("alone.wav")
    assert Path("alone.wav").read_bytes() == (Path("out") / first.index[1]).read_bytes()
    assert first["clap"].iloc[1] == pytest.approx(alone.scores[alone.picked])
    batches.clear()
    times = {name: (Path("out") / name).stat().st_mtime_ns for name in first.index}
    Path("rows.txt").write_text("A harp.\n\nA drum.\n")
    Path("rows.csv").write_text("prompt,id,seconds,seed\nA harp.,,,\nA guitar.,,0.6,7\nA drum.,,0.4,\n")
    done = CliRunner().invoke(app, ["generate", "--prompts", "rows.csv", "-o", "out", *options])
    assert done.exit_code == 0, done.output
    assert batches == [1]
    second = index(Path("out"))
    assert list(second["prompt"]) == ["A harp.", "A guitar.", "A drum.", "A piano."]
    assert {name: (Path("out") / name).stat().st_mtime_ns for name in first.index} == times
    assert "3 prompts, 2 of them finished before" in done.stdout


def test_a_killed_run_goes_on_and_one_process_fills_a_folder(model: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("\n".join(f"A piano number {number}." for number in range(6)))
    out = tmp_path / "out"
    options = ("--prompts", tmp_path / "rows.txt", "-o", out, "--model", model, "--seconds", 8, "--candidates", 16)
    running = subprocess.Popen(command(*options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (out / "index.csv").exists():
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(running.pid, signal.SIGSTOP)
    refused = subprocess.run(command(*options), capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "another process is filling this folder" in refused.stderr
    running.kill()
    running.wait()
    made = {name: (out / name).stat().st_mtime_ns for name in index(out).index}
    assert 0 < len(made) < 6
    done = subprocess.run(command(*options), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"6 prompts, {len(made)} of them finished before" in done.stdout
    assert len(index(out)) == 6
    assert {name: (out / name).stat().st_mtime_ns for name in made} == made
    assert not [file for file in out.iterdir() if ".part" in file.name]
