"""What each stage imports, and what dvc.yaml declares for it.

Exempt, each for a reason:
- errors.py: the exception and the words for a missing extra change no result;
- params.py, params_base.py, params_compute.py, params_data.py, params_errors.py, params_train.py: DVC tracks the values themselves as params;
- the package's own __init__.py: it holds the version, and `load` for those who do not use the pipeline;
- device.py, compute: they say where results are computed, as the section `compute` does;
- tracking: it records results and never changes them;
- training/preview.py, and what only it imports: previews during training are a by-product;
- published.py, and what only it imports: it finds and reads a published model. What is made of it is models/musicgen.py, and its
  codec and text encoder are held against data/tokens and data/text;
- initial.py, and what only it imports: it finds the model that a training starts from, whose digest is in data/external, and
  refuses one that does not fit.
"""

import ast
from functools import cache
from pathlib import Path
from typing import get_args

from ruamel.yaml import YAML

from musicgen_lite.params import ModelParams

TYPES: tuple[str, ...] = get_args(ModelParams.__annotations__["type"])
ROOT = Path(__file__).parent.parent.parent


PACKAGE = ROOT / "src" / "musicgen_lite"


EXEMPT = (
    "errors.py",
    "params.py",
    "params_base.py",
    "params_compute.py",
    "params_data.py",
    "params_errors.py",
    "params_train.py",
    "device.py",
    "compute",
    "__init__.py",
    "tracking",
)


NOT_FOLLOWED = (
    "src/musicgen_lite/training/preview.py",
    "src/musicgen_lite/published.py",
    "src/musicgen_lite/initial.py",
)


STAGES: dict[str, dict] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]


def module_files(name: str) -> list[Path]:
    """Files that importing a dotted name executes or may mean: the module, and its packages' `__init__`."""
    base = {"stages": ROOT, "musicgen_lite": ROOT / "src"}.get(name.split(".")[0])
    if base is None:
        return []
    parts = name.split(".")
    files = [base.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    files.append(base.joinpath(*parts).with_suffix(".py"))
    return [file for file in files if file.is_file()]


@cache
def imported(file: Path) -> frozenset[Path]:
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
    return frozenset(found for name in names for found in module_files(name))


@cache
def has_code(file: Path) -> bool:
    """Whether a file holds more than a docstring: an `__init__` without code changes no result."""
    return any(not isinstance(node, ast.Expr) for node in ast.parse(file.read_text()).body)


def reachable(files: list[Path]) -> set[str]:
    """Files with code that are imported, directly or not, where `files` are."""
    todo, seen = list(files), set()
    while todo:
        file = todo.pop()
        inside = file.relative_to(PACKAGE).parts[0] if file.is_relative_to(PACKAGE) else ""
        if file in seen or inside in EXEMPT or file.relative_to(ROOT).as_posix() in NOT_FOLLOWED:
            continue
        seen.add(file)
        todo += imported(file)
    return {file.relative_to(ROOT).as_posix() for file in seen if has_code(file)}


def closure(stage: str) -> set[str]:
    """Files that running a stage may import, as dvc.yaml writes them."""
    used = reachable([ROOT / "stages" / f"{stage}.py", ROOT / "stages" / "__init__.py"])
    # models/__init__.py loads one model's file by its type, which dvc.yaml names as ${model.type}.
    models = {f"src/musicgen_lite/models/{name}.py" for name in TYPES}
    return (used - models) | ({"src/musicgen_lite/models/${model.type}.py"} if used & models else set())


def declared(stage: str) -> list[str]:
    return [dep for dep in STAGES[stage]["deps"] if dep.startswith(("src/", "stages/"))]


def covers(dep: str, file: str) -> bool:
    return file == dep or file.startswith(dep + "/")


def is_declared(stage: str, file: str) -> bool:
    """Whether dvc.yaml names a file, for whichever model is chosen, among the deps of a stage."""
    deps = [dep.replace("${model.type}", one) for dep in declared(stage) for one in TYPES]
    return any(covers(dep, file) for dep in deps)


def is_exempt(file: str, stage: str) -> bool:
    """Whether a file need not be declared: see the top of this module."""
    parts = Path(file).relative_to("src/musicgen_lite").parts if file.startswith("src/musicgen_lite/") else ("",)
    by_products = {name for one in NOT_FOLLOWED for name in [one, *reachable(sorted(imported(ROOT / one)))]}
    without_code = not has_code(ROOT / file)
    return parts[0] in EXEMPT or without_code or (stage == "train" and file in by_products)
