"""The one exception for what a user can cause and mend."""


class UserError(Exception):
    """Names the file, row or parameter, what was found, what is allowed, and what to do.

    Stages and commands print it as one message without a traceback and exit with code 2.
    """


def first_line(error: BaseException) -> str:
    """What an error says, or the reason that it carries, on one line of at most 1,000 characters."""
    said = str(getattr(error, "reason", "") or error).strip() or type(error).__name__
    return said.splitlines()[0][:1000].rstrip(".")
