"""The stores that a training reads, opened and checked against each other."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from musicgen_lite.errors import UserError
from musicgen_lite.io.arrays import ArrayStore
from musicgen_lite.io.beats import Beats


def _meta(store: ArrayStore, *names: str) -> list[Any]:
    missing = [name for name in names if name not in store.meta]
    if missing:
        raise UserError(
            f"{store.directory}: meta.json lacks {', '.join(missing)}; run `dvc repro` to rebuild the store"
        )
    return [store.meta[name] for name in names]


ROWS = 1 << 10  # of an index that are Python objects at the same time


def _digest(rows: Iterator[Any]) -> str:
    """16 hex digits over the `repr` of a list of these rows, of which few at a time are in memory."""
    digest, separator = hashlib.sha256(b"["), ""
    while some := list(islice(rows, ROWS)):
        digest.update((separator + repr(some)[1:-1]).encode())
        separator = ", "
    digest.update(b"]")
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Inputs:
    """What a model is made for, by the names of its config: fingerprints, sizes and rates of codec and text encoder, and the
    longest text and audio prompt."""

    codec: str
    codebook_size: int
    num_codebooks: int
    frame_rate: float
    rate: int
    text: str
    text_dim: int
    max_text: int
    max_prompt_frames: int


class Corpus:
    """The stores of one corpus (target tokens, prompt tokens, text), opened and checked against each other.

    `tokens_dir` holds the stores `target` and `prompt` (uint16 `[T, N_q]`), `text_dir` is a store of float16 `[L, D]`.
    `variants`: the kinds of text that training samples from, each with the suffixes of a clip's id in the text store;
    `names`: of the codec and the text encoder; `beats`: of the clips. UserError where clips lack a prompt or a text, and
    where two codecs, a shard of another size or a code outside the codebook show up.
    """

    def __init__(self, tokens_dir: str | Path, text_dir: str | Path) -> None:
        self.targets = ArrayStore(Path(tokens_dir) / "target")
        self.prompts = ArrayStore(Path(tokens_dir) / "prompt")
        self.text = ArrayStore(text_dir)
        codec = ("fingerprint", "codebook_size", "num_codebooks", "frame_rate", "rate", "name")
        found = _meta(self.targets, *codec)
        for name, target, prompt in zip(codec, found, _meta(self.prompts, *codec), strict=True):
            if target != prompt:
                raise UserError(
                    f"{self.prompts.directory}: {name} of its codec is {prompt}, that of {self.targets.directory} is "
                    f"{target}; both must come from one codec: run `dvc repro tokenize`"
                )
        self.codec: str = found[0]
        self.codebook_size, self.num_codebooks = int(found[1]), int(found[2])
        self.frame_rate, self.rate = float(found[3]), int(found[4])
        self.encoder: str
        self.encoder, self.text_dim, self.max_text = _meta(self.text, "fingerprint", "dim", "max_tokens")
        variants: dict[str, list[str]]
        [variants] = _meta(self.text, "variants")
        self.variants = dict(sorted(variants.items()))
        self.names = {"codec": str(found[5]), "text": str(_meta(self.text, "name")[0])}
        self.beats = Beats(self.targets)
        self._check_clips()
        self.prompt_frames = int(self.prompts.lengths.max())  # those of short clips are shorter and padded

    @property
    def inputs(self) -> Inputs:
        """What a model of this corpus is made for."""
        return Inputs(
            codec=self.codec,
            codebook_size=self.codebook_size,
            num_codebooks=self.num_codebooks,
            frame_rate=self.frame_rate,
            rate=self.rate,
            text=self.encoder,
            text_dim=self.text_dim,
            max_text=self.max_text,
            max_prompt_frames=self.prompt_frames,
        )

    def _check_clips(self) -> None:
        index = self.targets.index
        clips, train = index["key"], index.loc[index["split"] == "train", "key"]
        suffixes = [suffix for variant in self.variants.values() for suffix in variant if suffix]
        for store, wanted in (
            (self.prompts, [clips]),
            (self.text, [clips, *(train + suffix for suffix in suffixes)]),
        ):
            missing = [keys[store.rows(pa.chunked_array(keys.array.__arrow_array__())) < 0] for keys in wanted]
            if count := sum(map(len, missing)):
                first = next(keys.iloc[0] for keys in missing if len(keys))
                raise UserError(
                    f"{store.directory}: {count} of the {sum(map(len, wanted))} entries for the {len(clips)} clips of "
                    f"{self.targets.directory} are missing, {first!r} first; both must come from the same clips: "
                    "run `dvc repro`"
                )
        for store in (self.targets, self.prompts):
            self._check_codes(store)

    def _check_codes(self, store: ArrayStore) -> None:
        """Raise UserError for a clip without a frame, with another number of codebooks or a code outside the codebook."""
        for codes, rows in store.shards():
            if not store.lengths[rows].all() or codes.shape[1] != self.num_codebooks:
                row = rows[np.argmin(store.lengths[rows])]
                raise UserError(
                    f"{store.directory}: clip {store.key(row)!r} has codes of shape {(int(store.lengths[row]), codes.shape[1])}, "
                    f"expected [frames, {self.num_codebooks}] with a frame at least; run `dvc repro tokenize`"
                )
            if codes.max() >= self.codebook_size:
                frame = int((codes >= self.codebook_size).any(axis=1).argmax())
                key = store.key(rows[np.searchsorted(store.starts[rows], frame, side="right") - 1])
                raise UserError(
                    f"{store.directory}: clip {key!r} has the code {int(codes.max())}, but the codec's codes are "
                    f"0 to {self.codebook_size - 1}; run `dvc repro tokenize`"
                )

    def clips(self, split: str) -> list[str]:
        """The ids of a split, sorted; UserError if there are none."""
        index = self.targets.index
        ids = sorted(index.loc[index["split"] == split, "key"].tolist())
        if not ids:
            raise UserError(
                f"{self.targets.directory}: no clip in the split {split!r}; give the source of data more clips or "
                "another share for this split"
            )
        return ids

    def facts(self) -> dict[str, Any]:
        """What identifies the corpus, for provenance and for the identity of a training."""
        index = self.targets.index[["key", "split", "length"]].sort_values("key")
        parts = (index[start : start + ROWS].to_numpy().tolist() for start in range(0, len(index), ROWS))
        clips = _digest(chain.from_iterable(parts))
        beats = _digest(self.beats.in_order())
        return {
            "codec": self.codec,
            "text": self.encoder,
            "variants": list(self.variants),
            "codebook_size": self.codebook_size,
            "num_codebooks": self.num_codebooks,
            "clips": clips,
            **({"beats": beats} if self.beats.known.any() else {}),
        }
