"""Presets: named sets of parameters, written into a parameter file that keeps its comments and all other keys."""

import difflib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.representer import RoundTripRepresenter

from musicgen_lite import params
from musicgen_lite.errors import UserError
from musicgen_lite.io.files import explain, write_text


def names(presets: Path) -> list[str]:
    """The presets in a folder."""
    return sorted(file.stem for file in presets.glob("*.yaml"))


def write(name: str, presets: Path, file: Path) -> dict[str, tuple[Any, Any]]:
    """Write the keys of the preset `name` into `file`, whole or not at all; gives each changed key's old and new value.

    Raises UserError for an unknown preset, and where the result would not be valid parameters.
    """
    known = names(presets)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        where = "" if known else "; run from the root of the repository"
        raise UserError(
            f"preset {name!r}: there is none of that name; {hint}known: {', '.join(known) or 'none'}{where}"
        )
    preset, tree = _read(presets / f"{name}.yaml"), _read(file)
    check_renamed(tree, str(file))
    column = _comment_column(tree)
    changed = {}
    for keys, new in leaves(preset):
        section: Any = tree
        for key in keys[:-1]:
            section = section.get(key) if isinstance(section, MutableMapping) else None
        if not isinstance(section, MutableMapping) or keys[-1] not in section:
            raise UserError(f"{presets / name}.yaml: {'.'.join(keys)}: {file} has no such parameter")
        old = section[keys[-1]]
        if old != new:
            section[keys[-1]] = new
            changed[".".join(keys)] = (old, new)
        _put_comment(section, keys[-1], column)
    buffer = io.StringIO()
    _yaml().dump(tree, buffer)
    params.parse(YAML(typ="safe").load(buffer.getvalue()), f"{file} with the preset {name}")
    write_text(file, buffer.getvalue())
    return changed


def check_renamed(tree: Any, source: str) -> None:
    """Raise UserError that lists the old names of parameters in a nested mapping with their new ones."""
    lines = [
        f"  {old}: renamed to {new}; move its value there" for old, new in params.RENAMED.items() if _has(tree, old)
    ]
    if lines:
        raise UserError("\n".join([f"{source}:", *lines]))


def _has(tree: Any, name: str) -> bool:
    for key in name.split("."):
        if not isinstance(tree, Mapping) or key not in tree:
            return False
        tree = tree[key]
    return True


def leaves(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The path and value of every key that is not a section."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key), value


class _Representer(RoundTripRepresenter):
    """Writes `null` for None, as in params.yaml, where ruamel would write nothing."""

    def represent_none(self, data: None) -> Any:
        return self.represent_scalar("tag:yaml.org,2002:null", "null")


_Representer.add_representer(type(None), _Representer.represent_none)


def _yaml() -> YAML:
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _read(file: Path) -> Any:
    try:
        tree = _yaml().load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; run from the root of the repository") from None
    except OSError as error:
        raise explain(error, file) from None
    except YAMLError as error:
        raise UserError(f"{file}: not valid YAML: {error}") from None
    if not isinstance(tree, MutableMapping):
        raise UserError(f"{file}: expected a mapping of parameters, found {type(tree).__name__}")
    return tree


def _comments(tree: Any) -> Iterator[tuple[Any, Any]]:
    """The comment behind each value, and the section it is in."""
    for key, value in tree.items():
        comment = tree.ca.items.get(key)
        if comment and comment[2]:
            yield tree, comment[2]
        if isinstance(value, MutableMapping):
            yield from _comments(value)


def _comment_column(tree: Any) -> int:
    """The column of most comments: a comment that a long value pushed aside goes back there once the value is short."""
    columns = Counter(comment.column for _, comment in _comments(tree) if comment.value.startswith("#"))
    return columns.most_common(1)[0][0] if columns else 0


def _put_comment(section: Any, key: str, column: int) -> None:
    comment = section.ca.items.get(key)
    if comment and comment[2] and comment[2].value.startswith("#"):
        comment[2].column = column
