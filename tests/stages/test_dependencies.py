"""dvc.yaml declares what each stage imports, in src/ and in stages/, so that code and declaration cannot drift apart.

Deps are packages where a stage imports most of one. A stage that always runs needs no code among its deps.
"""

import re

import pytest

from tests.support.dependencies import PACKAGE, ROOT, STAGES, TYPES, closure, covers, declared, imported

CACHED = [name for name, stage in STAGES.items() if not stage.get("always_changed")]


@pytest.mark.parametrize("stage", CACHED)
def test_every_import_is_declared_and_every_declaration_is_used(stage: str) -> None:
    used, deps = closure(stage), declared(stage)
    undeclared = sorted(file for file in used if not any(covers(dep, file) for dep in deps))
    assert not undeclared, f"{stage} imports these, but dvc.yaml does not declare them"
    code = [dep for dep in deps if "/weights/" not in dep]
    unused = sorted(dep for dep in code if not any(covers(dep, file) for file in used))
    assert not unused, f"dvc.yaml declares these for {stage}, but it does not import them"


@pytest.mark.parametrize("stage", CACHED)
def test_every_parameter_that_a_stage_reads_is_declared(stage: str) -> None:
    # Neither where results are computed nor where they are recorded changes them; `training` says what it reads itself.
    text = (ROOT / "stages" / f"{stage}.py").read_text()
    read = {".".join(filter(None, found)) for found in re.findall(r"\bparams\.([a-z]\w*)(?:\.(\w+))?", text)}
    free = (
        "compute",
        "tracking",
        "load",
        "model_dump",
        "model.decoder",
        "model.is_language_model",
        "trained",
        "training",
    )
    # A section of one model is declared for whichever is chosen.
    named = [name.replace("${model.type}", one) for name in STAGES[stage].get("params", []) for one in TYPES]
    missing = {
        name
        for name in read
        if not name.startswith(free) and not any(name == one or name.startswith(f"{one}.") for one in named)
    }
    assert not missing, f"dvc.yaml does not declare these parameters for {stage}"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_its_script(stage: str) -> None:
    assert STAGES[stage]["cmd"] == f"python -m stages.{stage}"


@pytest.mark.parametrize("stage", CACHED)
def test_a_stage_depends_on_its_script_and_on_the_runtime(stage: str) -> None:
    assert {f"stages/{stage}.py", "stages/runtime.py", "stages/__init__.py"} <= set(STAGES[stage]["deps"])


@pytest.mark.parametrize("stage", [name for name in STAGES if name not in CACHED])
def test_a_stage_that_always_runs_declares_no_code(stage: str) -> None:
    assert not declared(stage)


def test_the_folder_of_stages_holds_a_script_for_each_stage_and_one_runtime_module() -> None:
    assert {file.stem for file in (ROOT / "stages").glob("*.py")} == {*STAGES, "__init__", "runtime"}


@pytest.mark.parametrize("stage", STAGES)
def test_the_run_cache_can_hold_what_a_stage_writes(stage: str) -> None:
    """DVC saves no entry for a stage with an output that persists, or that is uncached and neither metric nor plot."""
    for out in STAGES[stage].get("outs", []):
        options = next(iter(out.values())) if isinstance(out, dict) else {}
        assert options.get("cache", True), f"{out} is uncached"
        assert not options.get("persist", False), f"{out} persists"


@pytest.mark.parametrize("stage", STAGES)
def test_no_dep_is_a_folder_that_holds_outputs(stage: str) -> None:
    """DVC may put a .gitignore beside an output: the digest of the folder around it then changes, and a stage runs again."""
    outs = {out if isinstance(out, str) else next(iter(out)) for one in STAGES.values() for out in one.get("outs", [])}
    assert not [dep for dep in STAGES[stage]["deps"] if any(out.startswith(dep + "/") for out in outs)]


@pytest.mark.parametrize("stage", STAGES)
def test_one_model_never_depends_on_the_other(stage: str) -> None:
    assert not any(re.search(rf"models(/({'|'.join(TYPES)})\.py)?$", dep) for dep in STAGES[stage]["deps"])


@pytest.mark.parametrize("area", ["cli", "generation", "report", "scoring", "tracking"])
def test_training_does_not_depend_on(area: str) -> None:
    assert not any(
        covers(f"src/musicgen_lite/{area}", dep) or covers(dep, f"src/musicgen_lite/{area}")
        for dep in declared("train")
    )


def test_only_tracking_imports_mlflow_and_the_library_never_reads_parameters_from_disk() -> None:
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text()
        where = file.relative_to(PACKAGE)
        if where.parts[0] != "tracking":
            assert not re.search(r"^\s*(import|from) mlflow", text, re.MULTILINE), where
        if where.as_posix() != "params.py":
            assert 'params.yaml")' not in text, where
        if where.as_posix() != "cli/shared/dvc_cache.py":  # a command of the repository, for which DVC has none
            assert not re.search(r"^\s*(import|from) dvc", text, re.MULTILINE), where


# What each package may import beside itself, errors, the typed parameters and io.
LAYERS: dict[str, set[str]] = {
    "io": set(), "compute": set(), "pretrained": set(), "rhythm": set(), "sources": {"compute", "rhythm"},
    "codec": {"compute", "pretrained", "rhythm"}, "text": {"compute", "pretrained"}, "clap": {"pretrained"},
    "patterns": set(), "models": {"patterns"},
    "generation": {"clap", "codec", "compute", "models", "patterns", "rhythm"},
    "generator": {"clap", "codec", "export", "generation", "models", "pretrained", "published", "request", "rhythm", "streaming",
                  "text", "tracking", "wav"},
    "export": {"model_facts", "pretrained", "published"}, "model_facts": {"models"}, "model_card": {"model_facts", "scoring"},
    "tracking": {"generation", "generator"},  # served.py alone, which MLflow runs where it serves a model
    "request": {"generation"}, "batch": {"generation", "request"}, "streaming": {"codec", "generation", "models"},
    "published": {"codec", "models", "patterns", "pretrained", "text"}, "initial": {"models", "pretrained", "published"},
    "training": {"initial", "models", "patterns", "published"},
    "scoring": {"compute", "models", "patterns", "codec", "clap", "pretrained", "rhythm"},
    "report": {"scoring"},
}  # fmt: skip
# What one file alone may import besides.
ALONE = {
    "preview.py": {"generation", "text", "codec", "pretrained"},
    "external.py": {"sources"},
    "diffusers.py": {"pretrained"},
}
BASE = {
    "errors",
    "params",
    "params_base",
    "params_compute",
    "params_data",
    "params_errors",
    "params_train",
    "device",
    "io",
    "__init__",
}


@pytest.mark.parametrize("area", LAYERS)
def test_imports_run_one_way(area: str) -> None:
    for file in (PACKAGE / area).rglob("*.py") if (PACKAGE / area).is_dir() else [PACKAGE / f"{area}.py"]:
        for found in imported(file):
            top = found.relative_to(PACKAGE).parts[0].removesuffix(".py")
            allowed = LAYERS[area] | BASE | {area} | ALONE.get(file.name, set())
            assert top in allowed, f"{file.relative_to(PACKAGE)} imports {top}"


def invalidated_beyond_need() -> dict[str, str]:
    """Stages of a run of model A that depend on a module and do not import it, by module, as docs/invalidation.md has it."""
    found = {}
    for module in sorted(
        file.relative_to(ROOT).as_posix() for file in [*PACKAGE.rglob("*.py"), *ROOT.glob("stages/*.py")]
    ):
        deps = {stage: [dep.replace("${model.type}", "a") for dep in declared(stage)] for stage in CACHED}
        stages = {stage for stage in CACHED if any(covers(dep, module) for dep in deps[stage])}
        unused = {
            stage for stage in stages if module not in {name.replace("${model.type}", "a") for name in closure(stage)}
        }
        if unused:
            found[module] = ", ".join(sorted(unused))
    return found


def test_docs_list_what_runs_again_beyond_need() -> None:
    text = (ROOT / "docs" / "invalidation.md").read_text()
    expected = "\n".join(f"| `{module}` | {stages} |" for module, stages in invalidated_beyond_need().items())
    assert expected in text, f"the table of docs/invalidation.md should be:\n{expected}"
    assert len(re.findall(r"^\| `", text, re.MULTILINE)) == len(expected.splitlines())
