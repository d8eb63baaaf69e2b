"""What the documentation names exists: links, make targets, commands with their options, modules, parameters and files."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import musicgen_lite
from musicgen_lite import params, presets
from musicgen_lite.cli import app
from stages import check

ROOT = Path(__file__).parent.parent.parent
PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8")
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "pretraining/*.md",
        ".github/**/*.md",
        "src/musicgen_lite/weights/*/README.md",
    )
    for page in sorted(ROOT.glob(pattern))
}
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
OWN_FOLDERS = (
    ".ci/", ".github/", "benchmarks/", "docs/", "notebooks/", "presets/", "pretraining/", "requirements/", "src/", "stages/", "tests/",
)  # fmt: skip
# What a command line may begin with before the program itself.
PREFIX = re.compile(r"^(\$ |nice -n \d+ |[A-Z_]+=\S+ )+")
SECTIONS = re.compile(r"(compute|data|sample|score|train)(\.[a-z_]+)+")


@cache
def parsed(file: str) -> Any:
    """The content of a YAML file of the repository."""
    return yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))


def code(text: str) -> list[str]:
    """Each line of the fenced blocks of a page, and each of its code spans."""
    blocks = [line for block in FENCE.findall(text) for line in block.splitlines()[1:-1]]
    return blocks + SPAN.findall(FENCE.sub("", text))


def commands(text: str) -> Iterator[list[str]]:
    """The words of every command line, comments left out."""
    for line in code(text):
        for command in re.split(r"&&|;|\|", re.sub(r"(^|\s)#.*", "", line)):
            words = PREFIX.sub("", command.strip()).split()
            if words:
                yield [words[0].removeprefix(".venv/bin/"), *words[1:]]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def options(words: list[str]) -> set[str]:
    """The options among the words of a command."""
    return {word.split("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}


def keys(tree: object, before: str = "") -> set[str]:
    """Dotted names of all sections and values of a parsed YAML file."""
    if not isinstance(tree, dict):
        return set()
    return {name for key, value in tree.items() for name in {before + key} | keys(value, f"{before}{key}.")}


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def module_file(name: str) -> Path | None:
    """The file that `python -m NAME` runs, of the project's own packages."""
    place = ROOT / ("src" if name.startswith("musicgen_lite") else "") / name.replace(".", "/")
    return next((file for file in (place.with_suffix(".py"), place / "__main__.py") if file.is_file()), None)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in LINK.findall(SPAN.sub("", FENCE.sub("", PAGES[page]))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_their_options_exist(page: str) -> None:
    command_line = typer.main.get_command(app)
    subcommands = command_line.commands  # type: ignore[attr-defined]
    presets = {file.stem for file in (ROOT / "presets").glob("*.yaml")}
    for words in commands(PAGES[page]):
        told = " ".join(words)
        if words[0] == "make":
            assert {word for word in words[1:] if re.fullmatch(r"[a-z-]+", word)} <= targets(), told
        elif words[0] == "musicgen-lite" and len(words) > 1:
            if words[1].isupper():
                continue
            command = command_line if words[1].startswith("-") else subcommands.get(words[1])
            assert command is not None, told
            known = {name for parameter in command.params for name in parameter.opts} | {"-h", "--help"}
            assert options(words[1:]) <= known, told
            if words[1] == "score" and len(words) > 2 and not words[2].startswith("-"):
                assert "--reference" in words, told
            if words[1] == "preset" and len(words) > 2:
                assert words[2] in {*presets, "NAME"}, told
        elif words[:2] == ["python", "-m"] and words[2].split(".")[0] in {
            "benchmarks", "musicgen_lite", "pretraining", "stages", "tests",
        }:  # fmt: skip
            file = module_file(words[2])
            assert file is not None, told
            assert all(f'"{option}"' in file.read_text() for option in options(words[3:])), told
        elif words[:2] == ["dvc", "repro"]:
            assert set(words[2:]) <= {*parsed("dvc.yaml")["stages"], "pretraining/dvc.yaml"}, told


@pytest.mark.parametrize("page", PAGES)
def test_parameters_exist(page: str) -> None:
    known = keys(parsed("params.yaml"))
    for line in code(PAGES[page]):
        for name in re.findall(r"-S '?([\w.]+)=", line) + ([line] if SECTIONS.fullmatch(line) else []):
            assert name in known | {"train.commit", "train.dirty"}, line  # these are tags of an MLflow run


def changed(preset: str, line: str) -> params.Params:
    """The parameters of a preset with those that a command line sets."""
    tree = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    given = {
        tuple(name.split(".")): yaml.safe_load(value or "''") for name, value in re.findall(r"-S ([\w.]+)=(\S*)", line)
    }
    for (*sections, key), value in (dict(presets.leaves(parsed(f"presets/{preset}.yaml"))) | given).items():
        section = tree
        for name in sections:
            section = section[name]
        section[key] = value
    return params.parse(tree)


def test_where_a_training_starts_from_a_shipped_model_its_sizes_are_given() -> None:
    lines = [line for text in PAGES.values() for line in code(text) if "-S train.init=shipped" in line]
    assert lines
    for line in lines:
        assert "sha256" in check.initial(changed("default", line)), line


@pytest.mark.parametrize("page", PAGES)
def test_no_block_takes_the_file_of_a_model_that_was_not_trained(page: str) -> None:
    """data/model holds that of the last run, which may be there to compare with."""
    for block in FENCE.findall(PAGES[page]):
        trained, before, _ = block.rpartition("-S train.steps=0")
        after = block[len(trained) + len(before) :]
        assert not before or "--model data/model" not in after.partition("dvc exp run")[0], block


def test_the_notebook_names_a_training_from_scratch_that_its_preset_allows() -> None:
    text = (ROOT / "notebooks/colab.ipynb").read_text(encoding="utf-8")
    (line,) = re.findall(r'experiment\(\\"scratch\\", f\\"(.*?) \{SETTINGS\}', text)
    found = changed("folder", line.replace("{STEPS}", "200"))
    assert (found.train.init, found.train.steps) == ("", 200)


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])  # it names what is gone, too
def test_files_exist(page: str) -> None:
    for span in SPAN.findall(FENCE.sub("", PAGES[page])):
        if span.startswith(OWN_FOLDERS) and re.fullmatch(r"[\w./*-]+", span) and "NAME" not in span:
            assert list(ROOT.glob(span.rstrip("/"))), span


def test_what_a_forge_reads_is_well_formed() -> None:
    files = [ROOT / "CITATION.cff", ROOT / ".pre-commit-config.yaml", *ROOT.glob(".github/**/*.yml")]
    read = {file.name: parsed(file.relative_to(ROOT).as_posix()) for file in files}
    assert all(read.values())
    assert read["CITATION.cff"]["version"] == musicgen_lite.__version__
    assert {"run": ".ci/run"} in read["ci.yml"]["jobs"]["test"]["steps"]
