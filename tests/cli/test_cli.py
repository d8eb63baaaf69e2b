"""What holds for every command: help, version, and errors said plainly."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import musicgen_lite
from musicgen_lite import params
from musicgen_lite.cli import app
from musicgen_lite.cli.shared import tracking

ROOT = Path(__file__).parent.parent.parent
COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help_has_a_short_form_everywhere(name: str | None) -> None:
    command = [name] if name else []
    short, long = (CliRunner().invoke(app, [*command, option]) for option in ("-h", "--help"))
    assert short.exit_code == long.exit_code == 0
    assert short.output == long.output
    assert "Usage" in short.output


@pytest.mark.parametrize("command", [("-m", "musicgen_lite"), ("-c", "from musicgen_lite.cli import app; app()")])
def test_the_version_is_said(command: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, *command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"musicgen-lite {musicgen_lite.__version__}\n"


def test_help_and_mistyped_options_load_nothing_heavy() -> None:
    check = "import sys, musicgen_lite.cli; print({'torch', 'pandas', 'numpy', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("generate", "x", "-o", "x.mp3"), "x.mp3: audio is written as .wav or .flac"),
        (("compare", "-o", "x.txt"), "x.txt: the page is written as .html"),
        (("preset", "no-such"), "preset 'no-such'"),
        (("convert-clap", "no-such.pt", "out"), "no-such.pt"),
        (("ui", "--tracking", "sqlite:///no-such.db"), "no-such.db"),
    ],
)
def test_what_a_user_can_mend_is_one_message_and_exit_code_2(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert said in done.stderr


def test_options_come_before_the_projects_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking.tracking_params("", "") == params.TrackingParams(uri="", experiment="musicgen-lite", required=True)
    text = (ROOT / "params.yaml").read_text()
    Path("params.yaml").write_text(text.replace('uri: ""', "uri: sqlite:///own.db", 1))
    assert tracking.tracking_params("", "").uri == "sqlite:///own.db"
    assert tracking.tracking_params("http://other", "other").uri == "http://other"
