"""Messages for invalid parameters: which one, what was found, what is allowed."""

import difflib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

KEY_PREFIX = re.compile(r"\w+: ")  # begins a validator's message that concerns one parameter of its section


def _allowed(root: type[BaseModel], where: tuple[str | int, ...]) -> list[str]:
    """The keys that are allowed in the section at `where`."""
    section: Any = root
    for key in where:
        section = section.model_fields[str(key)].annotation
    return list(section.model_fields)


def describe(error: Any, root: type[BaseModel], renamed: Mapping[str, str]) -> str:
    """One line for one of pydantic's errors about `root`; renamed: new names of parameters by their old ones."""
    where = tuple(error["loc"])
    name = ".".join(str(part) for part in where)
    match error["type"]:
        case "extra_forbidden":
            if name in renamed:
                return f"{name}: renamed to {renamed[name]}; move its value there, and remove {name}"
            allowed = _allowed(root, where[:-1])
            near = difflib.get_close_matches(str(where[-1]), allowed, n=1, cutoff=0.5)
            hint = f"did you mean {'.'.join(map(str, (*where[:-1], near[0])))}? " if near else ""
            return f"{name}: unknown parameter; {hint}allowed here: {', '.join(allowed)}"
        case "missing":
            return f"{name}: missing; it must be given (the repository's params.yaml holds every parameter)"
        case "value_error":
            message = str(error["ctx"]["error"])
            return f"{name}{'.' if KEY_PREFIX.match(message) else ': '}{message}" if name else message
        case _:
            return f"{name}: found {error['input']!r:.200}; {error['msg'][0].lower()}{error['msg'][1:]}"
