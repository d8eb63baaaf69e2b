"""Which texts an encoder can read: those whose characters its tokenizer has pieces for."""

from collections.abc import Callable, Sequence
from typing import Any

from musicgen_lite.errors import UserError

SHOWN = 10  # characters that are named
HALF = 0.5


def unknown(tokenizer: Any, text: str) -> list[str]:
    """The characters of a text that the tokenizer has no piece for, in order, each once."""
    unk = tokenizer.unk_token_id
    found = []
    for character in dict.fromkeys(text):
        if not character.isascii():
            ids = tokenizer(character, add_special_tokens=False).input_ids
            # Pieces of bytes decode to the replacement character.
            if unk in ids or any("\ufffd" in tokenizer.decode([piece]) for piece in ids):
                found.append(character)
    return found


def remark(texts: Sequence[str], what: str, tokenizer: Callable[[], Any]) -> str:
    """How many of the `texts` hold characters that the tokenizer does not know, to be said; '' where it knows all.

    what: what the texts are, such as captions; the tokenizer is loaded only where a text needs it. Raises UserError where
    it can read none of them: of each, more than half of the letters are unknown.
    """
    odd = [text for text in texts if not text.isascii()]
    strange = set(unknown(tokenizer(), "".join(dict.fromkeys("".join(odd))))) if odd else set()
    partly = [text for text in odd if not strange.isdisjoint(text)]
    if not partly:
        return ""
    lost = sum(_lost(text, strange) for text in partly)
    named = " ".join(map(repr, sorted(strange)[:SHOWN])) + (" …" if len(strange) > SHOWN else "")
    if lost == len(texts):
        raise UserError(
            f"{what}: the text encoder can read none of {len(texts)}: it does not know {named}; translate them, or name an "
            "encoder of their language in text.name"
        )
    worst = f", and of {lost} it can read next to nothing" if lost else ""
    return f"{what}: {len(partly)} of {len(texts)} hold characters that the text encoder does not know ({named}){worst}"


def _lost(text: str, strange: set[str]) -> bool:
    """Whether more than half of a text's letters are unknown."""
    letters = [character for character in text if character.isalpha()]
    return sum(character in strange for character in letters) > HALF * len(letters)
