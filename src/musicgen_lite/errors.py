"""The one exception for what a user can cause and mend, and the one way to what may not be installed."""

from importlib import import_module
from types import ModuleType


class UserError(Exception):
    """Names the file, row or parameter, what was found, what is allowed, and what to do.

    Stages and commands print it as one message without a traceback and exit with code 2.
    """


def first_line(error: BaseException) -> str:
    """What an error says, or the reason that it carries, on one line of at most 1,000 characters."""
    said = str(getattr(error, "reason", "") or error).strip() or type(error).__name__
    return said.splitlines()[0][:1000].rstrip(".")


def require(module: str, *, extra: str, purpose: str, otherwise: str = "") -> ModuleType:
    """Import a module that an extra of this package brings.

    Raises UserError that says what needs it (`purpose`), why it cannot be imported, the command that installs it, and
    what would do `otherwise`.
    """
    try:
        return import_module(module)
    except (ImportError, OSError, RuntimeError) as error:  # the latter two: torchaudio of another build than torch
        raise UserError(
            f"{purpose} needs the package {module.partition('.')[0].replace('_', '-')} ({first_line(error)}); run "
            f'`pip install "musicgen-lite[{extra}]"`, or in the repository `make env`{otherwise and "; "}{otherwise}'
        ) from error
