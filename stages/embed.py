"""Cached T5 embeddings of every caption, in half precision."""

from musicgen_lite import text
from musicgen_lite.params import Params
from musicgen_lite.progress import track
from musicgen_lite.sources.clips import ClipStore
from musicgen_lite.store import ArrayWriter, atomic_dir
from stages.common import CLIPS, TEXT, run, set_up_torch


def main(params: Params) -> None:
    set_up_torch(params.compute)
    encoder = text.load(params.text.name, params.trusted_pickles)
    rows = ClipStore(CLIPS).index[["id", "caption"]].to_dict("records")
    size, limit = params.text.batch_size, params.text.max_tokens
    truncated = 0
    with atomic_dir(TEXT) as part:
        writer = ArrayWriter(part, "float16")
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        for batch in track(batches, "embed captions", unit=f"x{size} captions"):
            captions = [row["caption"] for row in batch]
            truncated += sum(count > limit for count in encoder.num_tokens(captions))
            for row, embedding in zip(batch, encoder.encode(captions, limit), strict=True):
                writer.add(row["id"], embedding)
        writer.close(
            {"fingerprint": encoder.fingerprint, "dim": encoder.dim, "max_tokens": limit, "truncated": truncated}
        )
    print(f"captions: {len(rows)}, cut at {limit} tokens: {truncated}")


if __name__ == "__main__":
    run(main)
