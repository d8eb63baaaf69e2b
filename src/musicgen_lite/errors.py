"""The one exception for what a user can cause and mend."""


class UserError(Exception):
    """Names the file, row or parameter, what was found, what is allowed, and what to do.

    Stages and commands print it as one message without a traceback and exit with code 2.
    """
