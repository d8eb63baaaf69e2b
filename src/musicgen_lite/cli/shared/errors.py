"""Errors that a user can fix, printed as one message."""

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from musicgen_lite.errors import UserError


class PlainErrors(TyperGroup):
    """Commands whose UserError becomes one message on stderr and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(2) from None
