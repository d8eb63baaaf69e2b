"""The one exception for errors that a user can fix, and the one way to import optional packages."""

from importlib import import_module
from types import ModuleType


class UserError(Exception):
    """An error that a user can fix: names the file, row or parameter, what was found, what is allowed, and the remedy.

    Stages and commands print it as one message without a traceback and exit with code 2.
    """


def first_line(error: BaseException) -> str:
    """An error's reason or message, as one line of at most 1,000 characters."""
    message = str(getattr(error, "reason", "") or error).strip() or type(error).__name__
    return message.splitlines()[0][:1000].rstrip(".")


def require(module: str, *, extra: str, purpose: str, otherwise: str = "") -> ModuleType:
    """Import a module that an extra of this package installs.

    Raises UserError naming what needs it (`purpose`), why the import failed, the command that installs it, and an
    alternative (`otherwise`).
    """
    try:
        return import_module(module)
    except (ImportError, OSError, RuntimeError) as error:  # the last two: torchaudio built for another torch
        raise UserError(
            f"{purpose} needs the package {module.partition('.')[0].replace('_', '-')} ({first_line(error)}); run "
            f'`pip install "musicgen-lite[{extra}]"`, or in the repository `make env`{otherwise and "; "}{otherwise}'
        ) from error
