"""What a run generates for: test captions or the prompts of a file, and the fixed prompts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from musicgen_lite.errors import UserError
from musicgen_lite.io.arrays import ArrayStore
from musicgen_lite.io.clips import ClipStore
from musicgen_lite.io.files import read_json
from musicgen_lite.io.samples import Kind
from musicgen_lite.params import Params
from musicgen_lite.sources.splits import halves


@dataclass(frozen=True)
class Item:
    """One prompt to generate for; `prompt` `[T, N_q]` are the tokens of its audio prompt."""

    prompt_id: str
    kind: Kind
    caption: str
    prompt: np.ndarray | None = None


def items(params: Params, clips: ClipStore, tokens: Path, prompts: Path) -> Iterator[Item]:
    """Test captions (B: once more with their own audio prompt), or in their place the prompts of a file; then the fixed prompts.

    tokens: the folder of the clips' tokens; prompts: the JSON file that holds what `check` read from `sample.prompts_file`.
    """
    yield from of_file(clips, prompts) if params.sample.prompts_file else of_tests(params, clips, tokens)
    for number, caption in enumerate(params.sample.fixed_prompts):
        yield Item(f"fixed-{number}", "fixed", caption)


def of_file(clips: ClipStore, prompts: Path) -> Iterator[Item]:
    """The prompts of a file; UserError for the id of a clip, which scores would pair."""
    for one in read_json(prompts)["prompts"]:
        if one["id"] in clips:
            raise UserError(
                f"sample.prompts_file: id {one['id']!r} is that of a clip; give the prompt another one, or leave the parameter "
                "empty to generate for test captions"
            )
        yield Item(one["id"], "text", one["prompt"])


def of_tests(params: Params, clips: ClipStore, tokens: Path) -> Iterator[Item]:
    """Test captions; for model B once more with their own audio prompt."""
    _, prompted = halves(clips, params.sample.prompts)
    rows = prompted.to_dict("records")
    for row in rows:
        yield Item(row["id"], "text", row["caption"])
    if params.model.type == "b":
        prompts = ArrayStore(tokens / "prompt")
        for row in rows:
            yield Item(row["id"], "prompt", row["caption"], prompts[row["id"]].T)
