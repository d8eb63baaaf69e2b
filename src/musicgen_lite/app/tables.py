"""Tables as the page shows them: in Markdown, whose lines break between words alone, and which scroll where they are wide."""

import re
from collections.abc import Sequence

SPECIAL = re.compile(r"([\\`*_\[\]<>|~$])")


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text below their headers, in Markdown; text is shown as it is."""
    lines = [[plain(cell) for cell in line] for line in (headers, *rows)]
    lines.insert(1, ["---"] * len(headers))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(text: str) -> str:
    """Text on one line, in Markdown."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))
