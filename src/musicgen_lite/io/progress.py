"""Progress bars on a terminal, two lines elsewhere."""

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def track(items: Iterable[Item], label: str, total: int | None = None, unit: str = "item") -> Iterator[Item]:
    """Iterate over `items` with a tqdm bar on stderr; without a terminal only a start and an end line appear."""
    if sys.stderr.isatty():
        yield from tqdm(items, desc=label, total=total, unit=unit, leave=True)
        return
    if total is None and isinstance(items, Sized):
        total = len(items)
    count = "?" if total is None else total
    print(f"{label}: {count} {unit if total == 1 else _plural(unit)}", file=sys.stderr, flush=True)
    bar = tqdm(items, total=total, disable=True)
    yield from bar
    print(f"{label}: done", file=sys.stderr, flush=True)


def _plural(unit: str) -> str:
    return unit + ("es" if unit.endswith("ch") else "s")
