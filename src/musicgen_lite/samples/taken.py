"""Another system's audio in place of samples."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from musicgen_lite.clap import ClapScorer
from musicgen_lite.errors import UserError
from musicgen_lite.io.samples import Sample, SampleWriter
from musicgen_lite.io.windows import ClipWindows
from musicgen_lite.models import external


def take(
    folder: Path,
    place: external.Place,
    captions: Mapping[str, str],
    windows: ClipWindows,
    seconds: float,
    rate: int,
    clap: ClapScorer,
) -> tuple[str, list[dict[str, str]]]:
    """Write one candidate for each prompt that a system has audio for; what was taken, for people, and what was left out and why.

    captions: of the test prompts, by id, which are cut to the clip's own length, others to `seconds`. UserError where fewer than
    two files can be used.
    """
    left_out, taken = list[dict[str, str]](), list[external.Taken]()

    def reject(prompt: str, reason: str) -> None:
        left_out.append({"id": prompt, "reason": reason})

    def length(prompt: str) -> float:
        return windows.target_length(prompt) / rate if prompt in captions else seconds

    pieces = external.paired(place.pieces(reject), captions, reject)
    writer = SampleWriter(folder)
    for prompt, piece, one in external.takes(pieces, length, rate, reject):
        caption = captions.get(prompt, piece.caption)
        score = float(clap.similarity([caption], rate, [one.samples], [0])[0])
        writer.add(Sample(prompt, "text", 0, 0, score, True, caption), one.samples, rate)
        taken.append(replace(one, samples=one.samples[:0]))
    if len(taken) < 2:
        reasons = "; ".join(f"{one['id']}: {one['reason']}" for one in left_out[:3])
        raise UserError(f"{place.folder}: {len(taken)} of {len(pieces)} files can be used, 2 are needed: {reasons}")
    writer.close(left_out)
    whose = f"of {len(captions)} test prompts" if set(pieces) <= set(captions) else "prompts of its own"
    longer, silent = (sum(getattr(one, fact) for one in taken) for fact in ("longer", "silent"))
    return f"audio for {len(taken)} {whose}; {longer} longer than what is scored, {silent} silent", left_out
