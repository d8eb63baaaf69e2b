"""The GPU's benchmark without a GPU: it says so, and its path is walked with tiny sizes."""

from pathlib import Path

import pytest
import torch

from benchmarks import gpu, gpu_checks, gpu_speed
from musicgen_lite.generation.static import StaticDecoder


def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for arguments in ([], ["--smoke"]):
        assert gpu.main(arguments) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert "torch sees no GPU here" in told.err


@pytest.mark.slow
def test_what_it_checks_holds_and_a_wrong_step_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_checks, "KINDS", [("b", "delay"), ("musicgen", "delay")])
    faults, lines = gpu_checks.equality("cpu")
    assert faults == []
    assert all(line.endswith("100.0% of the codes are the same") for line in lines)
    step = StaticDecoder.step
    monkeypatch.setattr(StaticDecoder, "step", lambda *given, **named: step(*given, **named).flip(-1))
    faults, _ = gpu_checks.equality("cpu")
    assert [fault.partition(":")[0] for fault in faults] == ["b, delay", "musicgen, delay"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # transformers', about special ids
def test_its_table_has_every_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_checks, "KINDS", [])
    place = tmp_path / "gpu.md"
    assert gpu.main(["--device", "cpu", "--no-pipeline", "--table", str(place)]) == 0
    text = place.read_text()
    assert text.startswith(gpu.NOT_MEASURED)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ") and "measured" not in line]
    names = [
        f"| generation, {items} items: {whose}"
        for whose in ("ours", "transformers eager", "transformers static cache, compiled", "ours, layers compiled")
        for items in gpu_speed.SIZES["cpu"].items
    ]  # fmt: skip
    training = ["| training: ours", "| training: transformers", "| training: ratio"]
    assert [row[0] for row in rows] == ["| limits", *training, *names]
    assert not any("does not run" in row[1] for row in rows)
