"""Messages for invalid parameters: which one, what was found, what is allowed."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

KEY_PREFIX = re.compile(r"[\w.]+: ")  # begins a validator's message that concerns one parameter of its section


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


def _name(error: Any) -> str:
    return ".".join(map(str, error["loc"]))


def _meant(error: Any, root: type[BaseModel], renamed: Mapping[str, str]) -> list[str]:
    """The parameters that an unknown one may stand for: its new name, a near one of its section, or those of other sections."""
    if error["type"] != "extra_forbidden":
        return []
    if _name(error) in renamed:
        return [renamed[_name(error)]]
    *section, key = map(str, error["loc"])
    close = difflib.get_close_matches(key, _allowed(root, tuple(section)), n=1, cutoff=0.5)
    return [".".join((*section, close[0]))] if close else _elsewhere(root, key)


def describe_all(errors: Sequence[Any], root: type[BaseModel], renamed: Mapping[str, str]) -> list[str]:
    """One line for each of pydantic's errors; a parameter is not called missing where an unknown one may stand for it."""
    meant = {name for error in errors for name in _meant(error, root, renamed)}
    return [
        describe(error, root, renamed) for error in errors if error["type"] != "missing" or _name(error) not in meant
    ]


def describe(error: Any, root: type[BaseModel], renamed: Mapping[str, str]) -> str:
    """One line for one of pydantic's errors about `root`; renamed: new names of parameters by their old ones."""
    name = _name(error)
    match error["type"]:
        case "extra_forbidden":
            if name in renamed:
                return f"{name}: renamed to {renamed[name]}; move its value there, and remove {name}"
            near = _meant(error, root, renamed)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            return f"{name}: unknown parameter; {hint}allowed here: {', '.join(_allowed(root, error['loc'][:-1]))}"
        case "missing":
            return f"{name}: missing; it must be given (the repository's params.yaml holds every parameter)"
        case "value_error":
            message = str(error["ctx"]["error"])
            return f"{name}{'.' if KEY_PREFIX.match(message) else ': '}{message}" if name else message
        case _:
            return f"{name}: found {error['input']!r:.200}; {error['msg'][0].lower()}{error['msg'][1:]}"
