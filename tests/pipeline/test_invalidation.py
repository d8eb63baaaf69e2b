"""One line is changed in a module of each package in turn: what DVC then calls changed is what imports and dvc.yaml say.

Nothing is missed. Where a stage depends on a whole package it is called changed for modules that it does not import: the table
in docs/invalidation.md lists them (`tests/stages/test_dependencies.py` computes it), and is held against what DVC says.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.repo import Repo

from tests.support import dependencies
from tests.support.project import ROOT, Project

pytestmark = [pytest.mark.pipeline, pytest.mark.long, pytest.mark.timeout(1800)]

ALWAYS = {name for name, stage in dependencies.STAGES.items() if stage.get("always_changed")}
DOCS = ROOT / "docs" / "invalidation.md"


def modules() -> list[str]:
    """The last module of each package, and all where a stage may depend on single ones."""
    top = ROOT / "src/musicgen_lite"
    files = {max(package.glob("*.py")) for package in {file.parent for file in top.rglob("*.py")}}
    files |= {*top.glob("*.py"), *(top / "models").glob("*.py"), *(top / "scoring").glob("*.py")}
    files |= {ROOT / "stages" / name for name in ("__init__.py", "runtime.py", "train.py")}
    return sorted(file.relative_to(ROOT).as_posix() for file in files)


def changed_stages(project: Project) -> set[str]:
    """What `dvc status` names because of a changed dep, by stage; what is always run is left out."""
    with Repo(str(project.folder)) as repo:
        status = repo.status()
    # From elsewhere DVC puts the path of dvc.yaml before a stage's name.
    named = {stage.rpartition(":")[2]: parts for stage, parts in status.items()}
    return {
        stage
        for stage, parts in named.items()
        if stage not in ALWAYS and any(isinstance(part, dict) and "changed deps" in part for part in parts)
    }


def importing_stages(module: str, kind: str) -> set[str]:
    """Stages of a run of one model type whose imports lead to a module."""
    return {
        stage
        for stage in dependencies.STAGES
        if stage not in ALWAYS
        and module in {name.replace("${model.type}", kind) for name in dependencies.closure(stage)}
    }


@pytest.fixture(scope="module")
def invalidated(project: Project) -> dict[str, set[str]]:
    """The stages that DVC calls changed after a line was added to a module, by module, in a run of model A."""
    assert not changed_stages(project)
    return dict(_each(project))


def _each(project: Project) -> Iterator[tuple[str, set[str]]]:
    for module in modules():
        file = project.folder / module
        text = file.read_text()
        file.write_text(text + "\nADDED = 1\n")
        yield module, changed_stages(project)
        file.write_text(text)


def test_no_changed_line_is_missed(invalidated: dict[str, set[str]]) -> None:
    missed = {module: importing_stages(module, "a") - stages for module, stages in invalidated.items()}
    assert not {module: stages for module, stages in missed.items() if stages}


def test_what_is_invalidated_beyond_need_is_listed_in_docs(invalidated: dict[str, set[str]]) -> None:
    beyond = {module: stages - importing_stages(module, "a") for module, stages in invalidated.items()}
    listed = dict(re.findall(r"^\| `([\w/]+\.py)` \| (.*?) \|", DOCS.read_text(), re.MULTILINE))
    found = {module: ", ".join(sorted(stages)) for module, stages in beyond.items() if stages}
    assert found == {module: stages for module, stages in listed.items() if module in beyond}


@pytest.mark.parametrize("area", ["scoring", "report", "cli", "tracking", "generation"])
def test_training_stays_up_to_date_when_this_changes(invalidated: dict[str, set[str]], area: str) -> None:
    inside = [stages for module, stages in invalidated.items() if module.startswith(f"src/musicgen_lite/{area}")]
    assert inside
    assert not any("train" in stages for stages in inside)


def test_the_other_models_code_changes_nothing(invalidated: dict[str, set[str]]) -> None:
    assert not invalidated["src/musicgen_lite/models/b.py"]
    assert {"train", "sample", "score_nll"} <= invalidated["src/musicgen_lite/models/a.py"]


def test_a_shipped_models_weights_count_where_they_are_used(project: Project) -> None:
    weights = project.folder / "src/musicgen_lite/weights"
    for name, stages in {
        "codec": {"tokenize", "reference", "sample", "score_audio", "report"},
        "text": {"embed", "sample"},
        "clap": {"reference", "sample", "score_audio"},
        "clap_judge": {"score_audio"},
    }.items():
        file = next((weights / name).glob("*.json"))
        before = file.read_bytes()
        file.write_bytes(before + b"\n")
        assert changed_stages(project) == stages, name
        file.write_bytes(before)


def test_the_files_of_the_library_are_as_before(project: Project, invalidated: dict[str, set[str]]) -> None:
    """The changes were undone: no later test sees them."""
    assert not changed_stages(project)
    assert (
        Path(project.folder, "src/musicgen_lite/errors.py").read_text()
        == (ROOT / "src/musicgen_lite/errors.py").read_text()
    )
