"""Vocabulary coverage: whether a tokenizer has tokens for the characters of a text."""

from collections.abc import Callable, Sequence
from typing import Any

from musicgen_lite.errors import UserError

SHOWN = 10  # characters that a message lists
UNREADABLE = 0.5  # share of unknown letters above which a text counts as unreadable


def unknown_characters(tokenizer: Any, text: str) -> list[str]:
    """The characters of a text that the tokenizer has no token for, in order, each once."""
    unk = tokenizer.unk_token_id
    found = []
    for character in dict.fromkeys(text):
        if not character.isascii():
            ids = tokenizer(character, add_special_tokens=False).input_ids
            # Byte tokens decode to the replacement character.
            if unk in ids or any("\ufffd" in tokenizer.decode([piece]) for piece in ids):
                found.append(character)
    return found


def coverage_warning(texts: Sequence[str], what: str, tokenizer: Callable[[], Any]) -> str:
    """A warning that counts the `texts` with characters that the tokenizer does not know; '' where it knows all.

    what: what the texts are, such as captions; tokenizer: loads it, called only if a text has characters beyond ASCII.
    Raises UserError where every text is unreadable: more than half of its letters are unknown.
    """
    foreign = [text for text in texts if not text.isascii()]
    missing = set(unknown_characters(tokenizer(), "".join(dict.fromkeys("".join(foreign))))) if foreign else set()
    partly = [text for text in foreign if not missing.isdisjoint(text)]
    if not partly:
        return ""
    unreadable = sum(_is_unreadable(text, missing) for text in partly)
    named = " ".join(map(repr, sorted(missing)[:SHOWN])) + (" …" if len(missing) > SHOWN else "")
    if unreadable == len(texts):
        raise UserError(
            f"{what}: the text encoder can read none of {len(texts)}: it does not know {named}; translate them, or name an "
            "encoder of their language in text.name"
        )
    worst = f"; {unreadable} of them mostly unreadable" if unreadable else ""
    return f"{what}: {len(partly)} of {len(texts)} hold characters that the text encoder does not know ({named}){worst}"


def _is_unreadable(text: str, missing: set[str]) -> bool:
    """Whether more than half of a text's letters are unknown."""
    letters = [character for character in text if character.isalpha()]
    return sum(character in missing for character in letters) > UNREADABLE * len(letters)
