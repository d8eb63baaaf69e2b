"""`musicgen-lite export-samples`: a file a prompt at 44.1 kHz, of the picked samples; whole or not at all."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from musicgen_lite.cli import app
from musicgen_lite.io.samples import Sample, SampleWriter

RATE, SECONDS = 16000, 2.0
CAPTIONS = {"p1": "A tone, low.", "p2": 'A "high" tone.'}


def tone(hz: float, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(SECONDS * RATE)) / RATE)).astype(np.float32)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_samples(candidates: int = 1, level: float = 0.3) -> None:
    """Samples of two prompts, of which the last candidate is picked, and of a fixed one."""
    Path("data/samples").mkdir(parents=True)
    writer = SampleWriter("data/samples")
    for number, (prompt, caption) in enumerate(CAPTIONS.items()):
        for k in range(candidates):
            one = Sample(prompt, "text", k, 7, 0.5, k == candidates - 1, caption)
            writer.add(one, tone(300 + 100 * number + 1000 * k, level), RATE)
    writer.add(Sample("fixed-0", "fixed", 0, 7, 0.5, True, "Fixed."), tone(2000), RATE)
    writer.close()


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["export-samples", *words])
    return done.exit_code, done.output


def pitch(file: Path) -> float:
    samples, rate = soundfile.read(file)
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * rate / len(samples))


def test_each_prompt_becomes_one_file_at_the_challenge_s_rate() -> None:
    write_samples()
    code, output = run("made")
    assert code == 0, output
    assert "warning" not in output
    assert sorted(path.name for path in Path("made").iterdir()) == ["captions.csv", "p1.wav", "p2.wav"]
    for number, name in enumerate(CAPTIONS):
        facts = soundfile.info(Path("made") / f"{name}.wav")
        assert (facts.samplerate, facts.channels, facts.frames, facts.subtype) == (44100, 1, 88200, "PCM_16")
        assert pitch(Path("made") / f"{name}.wav") == pytest.approx(300 + 100 * number, abs=1)
    with Path("made/captions.csv").open(newline="") as file:
        assert [(row["file_name"], row["caption"]) for row in csv.DictReader(file)] == [
            (f"{name}.wav", caption) for name, caption in CAPTIONS.items()
        ]


def test_the_picked_candidates_are_written_and_that_they_were_picked_is_said() -> None:
    write_samples(candidates=3)
    code, output = run("made", "--rate", "16000")
    assert code == 0, output
    assert "warning: each file is the best of 3 by CLAP" in " ".join(output.split())
    assert pitch(Path("made/p1.wav")) == pytest.approx(2300, abs=1)


def test_what_overshoots_full_scale_is_scaled_down_and_not_clipped() -> None:
    write_samples(level=1.0)
    assert run("made")[0] == 0
    loud = soundfile.read("made/p1.wav")[0]
    assert np.sum(np.abs(loud) > 0.99995) < 0.01 * len(loud)


def test_nothing_is_written_where_something_is_wrong() -> None:
    assert run("made")[0] == 2
    write_samples()
    for words, message in (
        (("made", "--rate", "100"), "rate: found 100; 8000 to 192000 Hz are allowed"),
        (("data",), "data: this folder is not empty, and is kept"),
        (("made", "--samples", "nowhere"), "nowhere: no samples"),
    ):
        code, output = run(*words)
        assert code == 2
        assert message in " ".join(output.split())
    assert not Path("made").exists()
