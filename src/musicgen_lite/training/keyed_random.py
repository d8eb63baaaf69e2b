"""Random numbers that are functions of a key: the seed, the pass over the data, the clip and what is drawn.

Workers, batch sizes, devices, the type of the model and the step at which a run was resumed have no part in them.
"""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

Choice = TypeVar("Choice")


def stable_hash(*key: str | int) -> int:
    """A 64-bit number that depends on `key` alone; different keys give independent numbers."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "little")


def keyed_uniform(*key: str | int) -> float:
    """A number in [0, 1) that depends on `key` alone."""
    return (stable_hash(*key) >> 11) / 2**53


def keyed_choice(choices: Sequence[Choice], *key: str | int) -> Choice:
    """One of `choices`, each equally likely, that depends on `key` alone."""
    return choices[int(keyed_uniform(*key) * len(choices))]
