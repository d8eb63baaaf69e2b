"""Messages for invalid parameters: which one, what was found, what is allowed."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

KEY_PREFIX = re.compile(r"\w+: ")  # begins a validator's message that concerns one parameter of its section


def _allowed(root: type[BaseModel], where: tuple[str | int, ...]) -> list[str]:
    """The keys that are allowed in the section at `where`."""
    section: Any = root
    for key in where:
        section = section.model_fields[str(key)].annotation
    return list(section.model_fields)


def _elsewhere(section: Any, key: str, where: tuple[str, ...] = ()) -> list[str]:
    """Dotted names that end in a key, anywhere below a section."""
    found = [".".join((*where, key))] if key in section.model_fields else []
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += _elsewhere(field.annotation, key, (*where, name))
    return found


def describe_all(errors: Sequence[Any], root: type[BaseModel], renamed: Mapping[str, str]) -> list[str]:
    """One line for each of pydantic's errors; a parameter is not called missing where another line names it."""
    lines = {".".join(map(str, error["loc"])): describe(error, root, renamed) for error in errors}
    missing = {".".join(map(str, error["loc"])) for error in errors if error["type"] == "missing"}
    named = {
        name
        for name in missing
        for other, line in lines.items()
        if other != name and f" {name}" in re.sub("[;?]", " ", line)
    }
    return [line for name, line in lines.items() if name not in named]


def describe(error: Any, root: type[BaseModel], renamed: Mapping[str, str]) -> str:
    """One line for one of pydantic's errors about `root`; renamed: new names of parameters by their old ones."""
    where = tuple(error["loc"])
    name = ".".join(str(part) for part in where)
    match error["type"]:
        case "extra_forbidden":
            if name in renamed:
                return f"{name}: renamed to {renamed[name]}; move its value there, and remove {name}"
            allowed = _allowed(root, where[:-1])
            close = difflib.get_close_matches(str(where[-1]), allowed, n=1, cutoff=0.5)
            near = [".".join(map(str, (*where[:-1], close[0])))] if close else _elsewhere(root, str(where[-1]))
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            return f"{name}: unknown parameter; {hint}allowed here: {', '.join(allowed)}"
        case "missing":
            return f"{name}: missing; it must be given (the repository's params.yaml holds every parameter)"
        case "value_error":
            message = str(error["ctx"]["error"])
            return f"{name}{'.' if KEY_PREFIX.match(message) else ': '}{message}" if name else message
        case _:
            return f"{name}: found {error['input']!r:.200}; {error['msg'][0].lower()}{error['msg'][1:]}"
