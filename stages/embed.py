"""T5 embeddings of every caption, and of the other texts that training draws from, cached in half precision."""

import hashlib
from collections import Counter
from collections.abc import Sequence

from musicgen_lite import text
from musicgen_lite.io.arrays import ArrayWriter
from musicgen_lite.io.clips import ClipStore
from musicgen_lite.io.progress import track
from musicgen_lite.io.work import resumable_dir
from musicgen_lite.params import Params
from musicgen_lite.text.variants import SUFFIXES, Wording, wordings
from stages.runtime import CLIPS, TEXT, resolve_model_path, run, set_up_torch, work_dir


def wanted(clips: ClipStore, chosen: Sequence[str]) -> tuple[list[Wording], int]:
    """The texts to embed: every clip's caption, which all but training reads, and training clips' `chosen` variants.

    Also how many training clips have no aspects, so that their caption stands for the other variants.
    """
    told: list[Wording] = []
    bare = 0
    for row in clips.index[["id", "split", "caption", "aspects"]].to_dict("records"):
        aspects = [aspect for aspect in row["aspects"] if aspect]
        variants = {"caption", *chosen} if row["split"] == "train" else {"caption"}
        told += wordings(row["id"], row["caption"], aspects, [name for name in SUFFIXES if name in variants])
        bare += len(variants) > 1 and not aspects
    return told, bare


def digest(words: str) -> str:
    """By which equal texts are known, however their vectors were rounded."""
    return hashlib.blake2b(words.encode(), digest_size=8).hexdigest()


def main(params: Params) -> None:
    device = set_up_torch(params.compute)
    encoder = text.load(resolve_model_path(params.text.name), device=device, trusted=params.trusted_pickles)
    size, limit, chosen = params.text.batch_size, params.text.max_tokens, params.text.variants
    told, bare = wanted(ClipStore(CLIPS), chosen)
    warning = encoder.coverage_warning([one.text for one in told], "captions")
    lengths = encoder.num_tokens([one.text for one in told])
    made = Counter(one.variant for one in told)
    cut = Counter(one.variant for one, length in zip(told, lengths, strict=True) if length > limit)
    batches = text.batches([min(length, limit) for length in lengths], size)
    with resumable_dir(TEXT, work_dir("embed", params, encoder.fingerprint, device)) as folder:
        writer = ArrayWriter(folder, "float16")
        left = [batch for batch in batches if any(told[number].key not in writer for number in batch)]
        for numbers in track(left, "embed captions", unit=f"x{size} texts"):
            batch = [told[number] for number in numbers]
            for one, vectors in zip(batch, encoder.encode([one.text for one in batch], limit), strict=True):
                if one.key not in writer:
                    writer.add(one.key, vectors, digest=digest(one.text))
        writer.close(
            {
                "name": encoder.name, "fingerprint": encoder.fingerprint, "dim": encoder.dim, "max_tokens": limit,
                "variants": {name: SUFFIXES[name] for name in chosen}, "texts": made,
                "truncated": {name: cut[name] for name in made}, "without_aspects": bare,
            }
        )  # fmt: skip
    if warning:
        print(warning)
    for name, count in made.items():
        print(f"{name}: {count}, cut at {limit} tokens: {cut[name]}")
    if bare:
        print(f"training clips without aspects: {bare}; their caption stands for each variant")


if __name__ == "__main__":
    run(main)
