"""dvc.yaml declares exactly what each stage imports from src/, so that code and declaration cannot drift apart.

Exempt, each for a reason:
- params.py: DVC tracks the values themselves as params;
- tracking: it records results and never changes them;
- stages/previews.py, and what only it imports: audio previews during training are a by-product;
- peer.py, and what only it imports: it finds and reads a published model. What is made of it is models/musicgen.py, and its
  codec and text encoder are held against data/tokens and data/text.
"""

import ast
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from musicgen_lite.models.config import TYPES

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "src" / "musicgen_lite"
EXEMPT = ("params.py", "tracking.py", "tracking", "provenance.py", "__init__.py")
EXEMPT_FILES = ("stages/previews.py", "src/musicgen_lite/peer.py")
STAGES: dict[str, dict] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]


def module_files(name: str) -> list[Path]:
    """Files that importing a dotted name executes or may mean: the module, and its packages' `__init__`."""
    if name.split(".")[0] == "stages":
        base = ROOT
    elif name.split(".")[0] == "musicgen_lite":
        base = ROOT / "src"
    else:
        return []
    parts = name.split(".")
    files = [base.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    files.append(base.joinpath(*parts).with_suffix(".py"))
    return [file for file in files if file.is_file()]


def imported(file: Path) -> set[Path]:
    """Files of the project that one file imports anywhere, inside functions too, but not for type checkers alone."""
    names: set[str] = set()
    package = ".".join(file.relative_to(ROOT / "src" if file.is_relative_to(ROOT / "src") else ROOT).parts[:-1])
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = (package + "." if node.level else "") + (node.module or "")
            names |= {start.rstrip("."), *(f"{start}.{alias.name}".lstrip(".") for alias in node.names)}
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            raise AssertionError(f"{file}: a dynamic import, which this test cannot follow")
    return {found for name in names for found in module_files(name)}


def has_code(file: Path) -> bool:
    """Whether a file holds more than a docstring: an `__init__` without code changes no result."""
    return any(not isinstance(node, ast.Expr) for node in ast.parse(file.read_text()).body)


def closure(stage: str) -> set[str]:
    """Files under src/musicgen_lite that running a stage may import, as dvc.yaml writes them."""
    todo, seen = [ROOT / "stages" / f"{stage}.py"], set()
    while todo:
        file = todo.pop()
        if file in seen or file.relative_to(ROOT).as_posix() in EXEMPT_FILES:
            continue
        seen.add(file)
        if file.is_relative_to(PACKAGE) and file.relative_to(PACKAGE).parts[0] in EXEMPT:
            continue
        todo += imported(file)
    inside = {file for file in seen if file.is_relative_to(PACKAGE) and has_code(file)}
    used = {file.relative_to(ROOT).as_posix() for file in inside if file.relative_to(PACKAGE).parts[0] not in EXEMPT}
    # models/__init__.py loads one model's file by its type, which dvc.yaml names as ${model.type}.
    models = {f"src/musicgen_lite/models/{name}.py" for name in TYPES}
    return (used - models) | ({"src/musicgen_lite/models/${model.type}.py"} if used & models else set())


def declared(stage: str) -> list[str]:
    return [dep for dep in STAGES[stage]["deps"] if dep.startswith("src/musicgen_lite")]


def covers(dep: str, file: str) -> bool:
    return file == dep or file.startswith(dep + "/")


@pytest.mark.parametrize("stage", STAGES)
def test_every_import_is_declared_and_every_declaration_is_used(stage: str) -> None:
    used, deps = closure(stage), declared(stage)
    undeclared = sorted(file for file in used if not any(covers(dep, file) for dep in deps))
    assert not undeclared, f"{stage} imports these, but dvc.yaml does not declare them"
    code = [dep for dep in deps if "/weights/" not in dep]
    unused = sorted(dep for dep in code if not any(covers(dep, file) for file in used))
    assert not unused, f"dvc.yaml declares these for {stage}, but it does not import them"


@pytest.mark.parametrize("stage", [name for name in STAGES if not STAGES[name].get("always_changed")])
def test_every_parameter_that_a_stage_reads_is_declared(stage: str) -> None:
    # Neither where results are computed nor where they are recorded changes them; `relevant` hashes its own.
    text = (ROOT / "stages" / f"{stage}.py").read_text()
    read = {".".join(filter(None, found)) for found in re.findall(r"\bparams\.([a-z]\w*)(?:\.(\w+))?", text)}
    own = {name for name in read if not name.startswith(("compute", "tracking", "load", "model_dump", "model.decoder"))}
    # A section of one model is declared for whichever is chosen.
    named = [name.replace("${model.type}", one) for name in STAGES[stage].get("params", []) for one in TYPES]
    missing = {name for name in own if not any(name == one or name.startswith(f"{one}.") for one in named)}
    assert not missing, f"dvc.yaml does not declare these parameters for {stage}"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_its_script_and_depends_on_it(stage: str) -> None:
    assert STAGES[stage]["cmd"] == f"python -m stages.{stage}"
    assert f"stages/{stage}.py" in STAGES[stage]["deps"]


@pytest.mark.parametrize("stage", STAGES)
def test_one_model_never_depends_on_the_other(stage: str) -> None:
    assert not any(re.search(rf"models(/({'|'.join(TYPES)})\.py)?$", dep) for dep in STAGES[stage]["deps"])


def test_only_tracking_imports_mlflow_and_the_library_never_reads_parameters_from_disk() -> None:
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text()
        where = file.relative_to(PACKAGE)
        if where.parts[0] not in ("tracking.py", "tracking"):
            assert not re.search(r"^\s*(import|from) mlflow", text, re.MULTILINE), where
        if where.as_posix() != "params.py":
            assert 'params.yaml")' not in text, where
            assert not re.search(r"^\s*(import|from) dvc", text, re.MULTILINE), where


ALLOWED_ABOVE = {
    "models": {"patterns"},
    "generation": {"models", "patterns"},
    "training": {"models", "patterns", "params", "peer", "text", "codec"},
    "scoring": {"models", "patterns", "codec", "text"},
    "codec": set(), "text": set(), "sources": set(), "report": {"scoring"},
}  # fmt: skip
BASE = {"errors", "progress", "pretrained", "store", "audio", "weights", "sources", "__init__"}


@pytest.mark.parametrize("area", ALLOWED_ABOVE)
def test_imports_run_one_way(area: str) -> None:
    for file in (PACKAGE / area).rglob("*.py"):
        for found in imported(file):
            top = found.relative_to(PACKAGE).parts[0].removesuffix(".py")
            assert top in ALLOWED_ABOVE[area] | BASE | {area}, f"{file.relative_to(PACKAGE)} imports {top}"
