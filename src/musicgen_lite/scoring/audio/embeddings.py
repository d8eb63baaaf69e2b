"""Sets of clips as embeddings: checked while they are read, stored with what they were made from.

An embedder turns a waveform into one row per window. A stored set carries the embedder's fingerprint, a digest of the
audio and the versions of the packages that computed it. A set with another fingerprint, digest or version is refused: a
distance between the embeddings of two embedders means nothing.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np

from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from musicgen_lite.io.arrays import ArrayStore, ArrayWriter
from musicgen_lite.io.files import atomic_dir
from musicgen_lite.scoring.audio.fad import ClipRows
from musicgen_lite.scoring.statistics.pairing import check_unique

# What may change an embedding without changing weights or settings.
PACKAGES = ("librosa", "numpy", "soxr", "torch", "transformers")

Item = tuple[str, np.ndarray, int]
"""A clip's id, samples `[T]` and rate in Hz."""
Reader = Callable[[str], tuple[np.ndarray, int]]
"""Gives samples `[T]` and rate in Hz of a clip by its id."""


class Embedder(Protocol):
    """A space to compare audio in. `fingerprint` covers weights and preprocessing; windows are cut by the embedder."""

    @property
    def name(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def rate(self) -> int: ...
    @property
    def window_s(self) -> float: ...
    @property
    def hop_s(self) -> float: ...
    @property
    def fingerprint(self) -> str: ...

    def embed(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Embeddings `[W, D]` of the windows of `[T]` at `rate` Hz; at least one window."""


@dataclass(frozen=True)
class Embeddings:
    """A set of clips in one embedder's space: `rows` `[N, D]` float32 in the order of `ids`, `windows` `[n]` rows each.

    `seconds` is the length of all clips but those known to be shorter, 0 where all are shorter. `silent` holds the ids of
    clips below -60 dB, which count like others.
    """

    embedder: str
    fingerprint: str
    digest: str
    seconds: float
    ids: tuple[str, ...]
    silent: tuple[str, ...]
    rows: np.ndarray
    windows: np.ndarray

    @property
    def clips(self) -> ClipRows:
        """The rows as the distances take them."""
        return ClipRows(self.rows, self.windows)

    def means(self) -> np.ndarray:
        """Mean over the windows of each clip, float64 `[n, D]`, not normalised."""
        starts = np.cumsum(self.windows) - self.windows
        return np.add.reduceat(self.rows.astype(np.float64), starts) / self.windows[:, None]

    def select(self, ids: Sequence[str]) -> "Embeddings":
        """The clips `ids`, in that order; UserError names one that is missing."""
        position = {item: i for i, item in enumerate(self.ids)}
        missing = [item for item in ids if item not in position]
        if missing:
            raise UserError(f"embeddings by {self.embedder}: no entry for {len(missing)} id(s), such as {missing[0]!r}")
        ends = np.cumsum(self.windows)
        parts = [self.rows[ends[position[i]] - self.windows[position[i]] : ends[position[i]]] for i in ids]
        chosen = {**self.__dict__, "ids": tuple(ids), "silent": tuple(i for i in self.silent if i in set(ids))}
        chosen |= {"rows": np.concatenate(parts), "windows": np.array([len(part) for part in parts])}
        return Embeddings(**chosen)


Compute = Callable[[Embedder, np.ndarray, int], np.ndarray]
"""Gives the embeddings `[W, D]` of samples `[T]` at a rate: computes them, or knows them from before."""


def compute(embedder: Embedder, samples: np.ndarray, rate: int) -> np.ndarray:
    """Embeddings `[W, D]`, computed each time."""
    return embedder.embed(samples, rate)


Vectors = Callable[[Iterator[Item], Sequence[Embedder]], Iterable[Sequence[np.ndarray]]]
"""Gives the embeddings `[W, D]` of each clip by each embedder, in the order of the clips."""


def one_by_one(
    items: Iterable[Item], embedders: Sequence[Embedder], compute: Compute = compute
) -> Iterator[list[np.ndarray]]:
    """Embeddings of one clip after the other, in this process."""
    for _, samples, rate in items:
        yield [compute(embedder, samples, rate) for embedder in embedders]


def embed(
    items: Iterable[Item],
    embedders: Sequence[Embedder],
    what: str,
    short: Collection[str] = (),
    vectors: Vectors = one_by_one,
) -> dict[str, Embeddings]:
    """Embed a set of clips with each embedder, reading `items` once and holding as many waveforms as `vectors` does.

    short: ids of clips that are known to be shorter than the others; these are embedded at full length.
    Silent clips are embedded and listed. Raises UserError naming the clip for empty or not finite samples, a duplicate
    id, a second rate, or another length than the first clip's; naming `what` for fewer than two clips.
    """
    rows: dict[str, list[np.ndarray]] = {embedder.name: [] for embedder in embedders}
    ids: list[str] = []
    silent: list[str] = []
    digest = hashlib.sha256()
    first: tuple[str, int, int] | None = None

    def checked() -> Iterator[Item]:
        nonlocal first
        for clip, samples, rate in items:
            _check(clip, samples, rate, first, what, clip in short)
            if clip not in short:
                first = first or (clip, rate, len(samples))
            ids.append(clip)
            if audio.rms_db(samples) < audio.SILENCE_DB:
                silent.append(clip)
            _count(digest, clip, samples, rate)
            yield clip, samples, rate

    for number, found in enumerate(vectors(checked(), embedders)):
        for embedder, given in zip(embedders, found, strict=True):
            one = np.asarray(given, dtype=np.float32)
            if one.ndim != 2 or one.shape[1] != embedder.dim or not len(one) or not np.isfinite(one).all():
                raise UserError(
                    f"{what}, clip {ids[number]!r}: {embedder.name} gave {one.shape}, not finite [W, {embedder.dim}]"
                )
            rows[embedder.name].append(one)
    check_unique(ids, what)
    seconds = first[2] / first[1] if first else 0.0
    return {
        e.name: Embeddings(
            e.name, e.fingerprint, digest.hexdigest()[:16], seconds, tuple(ids), tuple(silent),
            np.concatenate(rows[e.name]), np.array([len(part) for part in rows[e.name]]),
        )
        for e in embedders
    }  # fmt: skip


def _count(digest: "hashlib._Hash", clip: str, samples: np.ndarray, rate: int) -> None:
    digest.update(f"{clip}\0{rate}\0{len(samples)}\0".encode())
    digest.update(np.ascontiguousarray(samples, dtype=np.float32).tobytes())


def check_clips(one: Embeddings, read: Reader, what: str) -> None:
    """Raise UserError where the clips of a stored set have changed since they were embedded."""
    digest = hashlib.sha256()
    for clip in one.ids:
        _count(digest, clip, *read(clip))
    if digest.hexdigest()[:16] != one.digest:
        raise UserError(
            f"{what}: made from clips of digest {one.digest}, but now they have {digest.hexdigest()[:16]}; "
            "run `dvc repro`, which makes it anew"
        )


def versions() -> dict[str, str]:
    """Versions of the packages that compute embeddings, without build tags such as +cpu."""
    return {name: version(name).split("+")[0] for name in PACKAGES}


def _check(
    clip: str, samples: np.ndarray, rate: int, first: tuple[str, int, int] | None, what: str, short: bool
) -> None:
    if samples.ndim != 1 or not samples.size:
        raise UserError(f"{what}, clip {clip!r}: expected mono samples [T], found shape {samples.shape}")
    if not np.isfinite(samples).all():
        raise UserError(f"{what}, clip {clip!r}: holds NaN or infinite samples; nothing was scored")
    if first is None:
        return
    if rate != first[1]:
        raise UserError(
            f"{what}, clip {clip!r}: {rate} Hz, but clip {first[0]!r} has {first[1]} Hz; resample one of them"
        )
    # A codec's last frame may be cut differently: 20 ms are forgiven.
    if (len(samples) - first[2] if short else abs(len(samples) - first[2])) > 0.02 * rate:
        raise UserError(
            f"{what}, clip {clip!r}: {len(samples) / rate:.2f} s, but clip {first[0]!r} has {first[2] / rate:.2f} s; "
            "sets are compared at one length"
        )


def save(directory: str | Path, sets: Mapping[str, Mapping[str, Embeddings]]) -> None:
    """Write sets of embeddings (set → embedder → embeddings) into `directory`, whole or not at all."""
    with atomic_dir(directory) as part:
        for set_name, spaces in sets.items():
            for space, one in spaces.items():
                place = part / set_name / space
                place.mkdir(parents=True)
                writer = ArrayWriter(place, "float32")
                ends = np.cumsum(one.windows)
                for clip, end, size in zip(one.ids, ends, one.windows, strict=True):
                    writer.add(clip, one.rows[end - size : end], silent=clip in one.silent)
                meta = {k: getattr(one, k) for k in ("embedder", "fingerprint", "digest", "seconds")}
                writer.close({**meta, "versions": versions()})


def load(directory: str | Path, set_name: str, embedder: Embedder) -> Embeddings:
    """Read one set in one embedder's space.

    Raises UserError by name where it is missing, or was made by another embedder, other weights or preprocessing, or
    other versions of what computes it.
    """
    place = Path(directory) / set_name / embedder.name
    store = ArrayStore(place)
    made_by = store.meta["fingerprint"]
    if store.meta["embedder"] != embedder.name:
        raise UserError(
            f"{place}: made by {store.meta['embedder']}, not {embedder.name}; run `dvc repro -f -s reference`"
        )
    if made_by != embedder.fingerprint:
        raise UserError(
            f"{place}: made by {embedder.name} {made_by}, but now it is {embedder.fingerprint} (weights or preprocessing "
            "changed); run `dvc repro`, which makes it anew"
        )
    found, now = store.meta["versions"], versions()
    changed = [f"{name} {found.get(name)}, now {now[name]}" for name in PACKAGES if found.get(name) != now[name]]
    if changed:
        raise UserError(f"{place}: made with {'; '.join(changed)}; run `dvc repro -f -s reference` to make it anew")
    parts = [store[key] for key in store.keys]
    silent = tuple(store.index.loc[store.index["silent"], "key"])
    return Embeddings(
        store.meta["embedder"], made_by, store.meta["digest"], store.meta["seconds"], tuple(store.keys), silent,
        np.concatenate(parts), np.array([len(part) for part in parts]),
    )  # fmt: skip
