"""T5 embeddings of every caption, and of the text variants that training samples from, cached in half precision."""

from collections import Counter
from collections.abc import Sequence

from musicgen_lite import text
from musicgen_lite.compute import Recipe
from musicgen_lite.io.arrays import ArrayWriter
from musicgen_lite.io.clips import ClipStore
from musicgen_lite.io.progress import track
from musicgen_lite.io.work import resumable_dir
from musicgen_lite.params import Params
from musicgen_lite.text.embedding import TextEmbedding
from musicgen_lite.text.variants import SUFFIXES, TextVariant, digest, text_variants
from stages.runtime import CLIPS, TEXT, resolve_model_path, run, set_up_engine, work_dir


def texts_of(clips: ClipStore, chosen: Sequence[str]) -> tuple[list[TextVariant], int]:
    """The texts to embed: every clip's caption, and the `chosen` variants of training clips, which only training reads.

    Also how many training clips have no aspects, so that their caption replaces the other variants.
    """
    texts: list[TextVariant] = []
    without_aspects = 0
    for row in clips.rows():
        aspects = [aspect for aspect in row["aspects"] if aspect]
        variants = {"caption", *chosen} if row["split"] == "train" else {"caption"}
        texts += text_variants(row["id"], row["caption"], aspects, [name for name in SUFFIXES if name in variants])
        without_aspects += len(variants) > 1 and not aspects
    return texts, without_aspects


def main(params: Params) -> None:
    engine = set_up_engine(params.compute)
    cfg = params.text
    recipe = Recipe(text.load, resolve_model_path(cfg.name), device=engine.device, trusted=params.trusted_pickles)
    encoder = recipe.model
    texts, without_aspects = texts_of(ClipStore(CLIPS), cfg.variants)
    warning = encoder.coverage_warning([one.text for one in texts], "captions")
    lengths = encoder.num_tokens([one.text for one in texts])
    counts = Counter(one.variant for one in texts)
    truncated = Counter(one.variant for one, length in zip(texts, lengths, strict=True) if length > cfg.max_tokens)
    batches = text.batches([min(length, cfg.max_tokens) for length in lengths], cfg.batch_size)
    with resumable_dir(TEXT, work_dir("embed", params, encoder.fingerprint, engine.device)) as folder:
        writer = ArrayWriter(folder, "float16")
        remaining = [batch for batch in batches if any(texts[number].key not in writer for number in batch)]
        words = ([texts[number].text for number in batch] for batch in remaining)
        found = engine.map(TextEmbedding(recipe, cfg.max_tokens), words)
        for batch, encoded in zip(remaining, track(found, "embed captions", len(remaining), "batch"), strict=True):
            for number, vectors in zip(batch, encoded, strict=True):
                if (one := texts[number]).key not in writer:
                    writer.add(one.key, vectors, digest=digest(one.text))
        writer.close(
            {
                "name": encoder.name, "fingerprint": encoder.fingerprint, "dim": encoder.dim, "max_tokens": cfg.max_tokens,
                "variants": {name: SUFFIXES[name] for name in cfg.variants}, "texts": counts,
                "truncated": {name: truncated[name] for name in counts}, "without_aspects": without_aspects,
            }
        )  # fmt: skip
    if warning:
        print(warning)
    for name, count in counts.items():
        print(f"{name}: {count}, truncated at {cfg.max_tokens} tokens: {truncated[name]}")
    if without_aspects:
        print(f"training clips without aspects: {without_aspects}; their caption replaces each variant")


if __name__ == "__main__":
    run(main)
