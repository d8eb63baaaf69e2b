"""The wheel, built from this tree and installed with core dependencies alone into an empty environment elsewhere, works."""

import ctypes
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

import musicgen_lite
from tests.test_generator import save

pytestmark = [pytest.mark.slow, pytest.mark.pipeline, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parent.parent.parent
# What a client says where there is no network, or no index that it may reach.
OFFLINE = re.compile(
    r"error sending request|dns error|network is unreachable|failed to fetch|connect error|timed out", re.I
)
CAP_DAC_OVERRIDE, PR_CAPBSET_DROP = 1, 24
IMPORT_ALL = """
import importlib, pkgutil, musicgen_lite
from musicgen_lite.errors import UserError
for module in pkgutil.walk_packages(musicgen_lite.__path__, "musicgen_lite.", onerror=lambda name: None):
    if module.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(module.name)
    except UserError as error:
        print(module.name, error)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the tree stays clean and nothing that an earlier build left comes along."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", folder / "tree" / "src", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "tree")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(folder / "tree")], check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_package_its_data_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    known = subprocess.run(["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True, check=False)
    if known.returncode == 0:  # a tree without git has no list to compare with
        inside = {name.removeprefix("src/") for name in known.stdout.splitlines() if (ROOT / name).is_file()}
        assert {name for name in names if ".dist-info/" not in name} == inside
    assert {"musicgen_lite/weights/codec/model.safetensors", "musicgen_lite/report/page.html"} <= names
    text = zipfile.ZipFile(wheel).read(f"musicgen_lite-{musicgen_lite.__version__}.dist-info/METADATA").decode()
    assert f"\nVersion: {musicgen_lite.__version__}\n" in text
    assert '\nRequires-Dist: mlflow<4,>=3.17; extra == "pipeline"\n' in text


class Elsewhere:
    """A folder outside of the repository, with an environment whose site-packages nobody may write."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.home.mkdir()
        self.bin = folder / "env" / "bin"
        uv = [sys.executable, "-m", "uv"]
        if subprocess.run([*uv, "--version"], capture_output=True, check=False).returncode:
            pytest.skip("uv is not in this environment (make env installs it)")
        subprocess.run([*uv, "venv", "-q", "--python", sys.executable, str(folder / "env")], check=True)
        install = [*uv, "pip", "install", "--python", str(self.bin / "python"), str(wheel)]
        locked = ["--constraint", str(ROOT / "requirements" / "lock.txt")]
        done = subprocess.run([*install, *locked], capture_output=True, text=True, check=False)
        if done.returncode and OFFLINE.search(done.stderr):
            pytest.skip(f"no package index can be reached: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr
        (self.packages,) = (folder / "env" / "lib").glob("python3*/site-packages")

    def let_write(self, allowed: bool) -> None:
        """Folders alone: their files are links to those of the client's cache."""
        for place, _, _ in os.walk(self.packages):
            mode = stat.S_IMODE(os.stat(place).st_mode)
            os.chmod(place, mode | stat.S_IWUSR if allowed else mode & ~0o222)

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's programs here, as somebody who is bound by the modes of folders."""
        kept = {name: value for name, value in os.environ.items() if name in ("LANG", "LC_ALL", "TMPDIR")}
        own = {"HOME": str(self.home), "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        own["PYTHONPYCACHEPREFIX"] = str(self.folder / "bytecode")  # else each process would compile torch again
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]], cwd=self.folder, env={**kept, **own, **variables},
            preexec_fn=_bound_by_modes, text=True, capture_output=True, check=False,
        )  # fmt: skip


def _bound_by_modes() -> None:
    if os.geteuid() == 0:  # root writes anywhere, unless it gives that up
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    place = Elsewhere(tmp_path_factory.mktemp("elsewhere"), wheel)
    save(place.folder / "a.safetensors", "a")
    save(place.folder / "encodec.safetensors", "a", "encodec_24khz")
    place.let_write(False)
    refused = place.run("python", "-c", f"open({str(place.packages / 'x')!r}, 'w')")
    if "PermissionError" not in refused.stderr:
        pytest.skip(f"folders cannot be made read-only for this user: {refused.stderr}")
    yield place
    place.let_write(True)
    shutil.rmtree(place.folder / "env")  # 5 GB where the client cannot link to its cache


def test_only_the_core_is_there_and_every_other_module_names_its_extra(elsewhere: Elsewhere) -> None:
    done = elsewhere.run("python", "-c", "import mlflow")
    assert "No module named 'mlflow'" in done.stderr
    done = elsewhere.run("python", "-c", IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    refused = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert {name.split(".")[1] for name in refused} == {"app", "report", "training", "tracking"}
    assert all(re.search(r'run `pip install "musicgen-lite\[(pipeline|app)\]"`', error) for error in refused.values())


def test_the_version_is_said_by_the_command_and_the_module(elsewhere: Elsewhere) -> None:
    for command in (("musicgen-lite", "--version"), ("python", "-m", "musicgen_lite", "--version")):
        done = elsewhere.run(*command)
        assert (done.returncode, done.stdout) == (0, f"musicgen-lite {musicgen_lite.__version__}\n"), done.stderr
    done = elsewhere.run("python", "-c", "import musicgen_lite; print(musicgen_lite.__file__)")
    assert Path(done.stdout.strip()).is_relative_to(elsewhere.packages)


def generate(elsewhere: Elsewhere, name: str, **variables: str) -> bytes:
    options = ("--model", "a.safetensors", "--seconds", "0.5", "--candidates", "1", "--threads", "1")
    done = elsewhere.run("musicgen-lite", "generate", "A piano.", *options, "-o", name, **variables)
    assert done.returncode == 0, done.stderr
    assert soundfile.info(elsewhere.folder / name).frames == 8000
    return (elsewhere.folder / name).read_bytes()


def test_music_is_made_and_kernels_are_cached_where_that_can_be_written(elsewhere: Elsewhere) -> None:
    generate(elsewhere, "out.wav")
    cached = sorted((elsewhere.home / ".cache" / "numba").rglob("*.nbi"))
    assert cached
    assert not list((elsewhere.packages / "musicgen_lite").rglob("*.nb?"))
    written = [file.stat().st_mtime_ns for file in cached]
    first = generate(elsewhere, "again.wav", NUMBA_DEBUG_CACHE="1")
    assert [file.stat().st_mtime_ns for file in cached] == written
    # Neither beside the package nor in a home: still the same music.
    assert generate(elsewhere, "homeless.wav", HOME="/proc/no-home") == first


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("compare",), "pipeline"),
        (("compare", "--votes", "votes.csv"), "pipeline"),
        (("app",), "app"),
        (("ui", "--tracking", "sqlite:///rows.db"), "pipeline"),
        (("generate", "A piano.", "--model", "encodec.safetensors"), "encodec"),
    ],
)
def test_what_an_extra_would_bring_is_named_with_its_command(
    elsewhere: Elsewhere, command: tuple[str, ...], extra: str
) -> None:
    (elsewhere.folder / "rows.db").touch()
    done = elsewhere.run("musicgen-lite", *command)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert f'run `pip install "musicgen-lite[{extra}]"`' in done.stderr
    assert "Traceback" not in done.stderr


def test_stages_without_their_extra_say_so(elsewhere: Elsewhere) -> None:
    done = elsewhere.run("python", "-m", "stages.check", PYTHONPATH=str(ROOT))
    assert done.returncode == 2
    assert done.stderr.startswith("error: the pipeline needs the package lightning")
    assert 'run `pip install "musicgen-lite[pipeline]"`' in done.stderr
