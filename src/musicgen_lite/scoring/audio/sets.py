"""The sets of clips that audio is scored with: as audio, and embedded.

One half of the test tracks is the reference. The clips of the other half are taken as they are, through the codec, as
generated, and as noise; all sets but the reference have the same ids.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musicgen_lite.codec import Codec
from musicgen_lite.errors import UserError
from musicgen_lite.io.files import atomic_path
from musicgen_lite.io.hashing import short_digest
from musicgen_lite.io.progress import track
from musicgen_lite.io.samples import Kind, SampleStore
from musicgen_lite.io.windows import ClipWindows
from musicgen_lite.scoring.audio import embeddings
from musicgen_lite.scoring.audio.clap import candidate_id
from musicgen_lite.scoring.audio.distances import noise_like
from musicgen_lite.scoring.audio.embedders import Embedders
from musicgen_lite.scoring.audio.embeddings import Embedder, Embeddings, Item, Reader, embed
from musicgen_lite.scoring.statistics.pairing import check_same, check_unique


@dataclass(frozen=True)
class ClipSet:
    """Clips by id, read one at a time: `read(id)` gives samples `[T]` and their rate in Hz. Iterates as often as needed.

    short: ids of those that are known to be shorter than the others.
    """

    ids: Sequence[str]
    read: Reader
    short: Collection[str] = ()

    def __iter__(self) -> Iterator[Item]:
        return ((clip, *self.read(clip)) for clip in self.ids)

    def __len__(self) -> int:
        return len(self.ids)


def targets(windows: ClipWindows, ids: Sequence[str]) -> ClipSet:
    """The targets of clips."""
    return ClipSet(ids, windows.target, windows.short(ids))


def audio_prompts(windows: ClipWindows, ids: Sequence[str]) -> ClipSet:
    """The audio prompts of clips."""
    return ClipSet(ids, windows.prompt, windows.short_prompts(ids))


def stand_ins(windows: ClipWindows, others: Mapping[str, str]) -> ClipSet:
    """The target of another clip in place of each: `others` maps ids to the ids of those clips."""
    short = windows.short(others.values())
    return ClipSet(list(others), lambda clip: windows.target(others[clip]), {c for c in others if others[c] in short})


@dataclass(frozen=True)
class GeneratedSet:
    """Samples for test prompts: captions by id, `count` candidates each, and the index of the picked one.

    `read(id, k)` gives candidate k, for the ids in `short` no longer than the real clip; `tracks`: the track that each test
    clip is cut from. `prompts` holds the audio prompts by the same ids, if any; they are not part of the candidates' audio.
    external: whether they may lack some of the prompts, or have prompts of their own, as another system's and those of a file.
    """

    captions: Mapping[str, str]
    tracks: Mapping[str, str]
    picked: Mapping[str, int]
    count: int
    read: Callable[[str, int], tuple[np.ndarray, int]]
    prompts: ClipSet | None = None
    short: Collection[str] = ()
    external: bool = False

    def __len__(self) -> int:
        return len(self.captions)

    def candidates(self) -> Iterator[Item]:
        """Every candidate, by sorted id."""
        for clip in sorted(self.captions):
            for k in range(self.count):
                yield (candidate_id(clip, k), *self.read(clip, k))

    @property
    def short_candidates(self) -> set[str]:
        """The ids of the candidates that are known to be shorter than others."""
        return {candidate_id(clip, k) for clip in self.short for k in range(self.count)}

    def chosen(self) -> ClipSet:
        """The picked candidates under the ids of their prompts."""
        return ClipSet(sorted(self.captions), lambda clip: self.read(clip, self.picked[clip]), self.short)

    def check(self) -> None:
        """Raise UserError for too few prompts, a prompt without a pick, or a pick that does not exist."""
        check_unique(list(self.captions), "generated samples")
        check_same(self.captions, self.picked, "picks of generated samples")
        for clip, k in self.picked.items():
            if not 0 <= k < self.count:
                raise UserError(f"sample {clip!r}: candidate {k} was picked, but there are {self.count}")


def generated_set(
    samples: SampleStore, kind: Kind, count: int, tracks: Mapping[str, str], windows: ClipWindows | None = None
) -> GeneratedSet:
    """The samples of one kind, cut to the targets of their clips where `windows` knows these; of kind prompt with prompts.

    Raises UserError where a prompt has more than one picked sample, or there are fewer than two prompts.
    """
    picked = samples.picked(kind)
    check_unique([one.prompt_id for one in picked], f"picked samples of kind {kind}")
    captions = {one.prompt_id: one.caption for one in picked}
    # Prompts of another system's own belong to no clip.
    short = windows.short(clip for clip in captions if clip in tracks) if windows else set[str]()

    def read(clip: str, candidate: int) -> tuple[np.ndarray, int]:
        wave, rate = samples.wave(kind, clip, candidate)
        return (wave[: windows.target_length(clip)] if windows and clip in short else wave), rate

    prompts = audio_prompts(windows, sorted(captions)) if windows and kind == "prompt" else None
    return GeneratedSet(captions, tracks, {one.prompt_id: one.candidate for one in picked}, count, read, prompts, short)


@dataclass(frozen=True)
class ReferenceClips:
    """What does not depend on a model: the reference half, and the other half real, through the codec, and as noise.

    few_genres: real clips of a part of the genres under the ids of `real`: how far music lies that is good but not what
    was asked for. training: clips that a model may have memorised. prompts: the audio prompts of `real`.
    captions and tracks are those of `real`, by id.
    """

    captions: Mapping[str, str]
    tracks: Mapping[str, str]
    reference: ClipSet
    real: ClipSet
    reconstruction: ClipSet
    noise: ClipSet
    prompts: ClipSet
    few_genres: ClipSet | None = None
    training: ClipSet | None = None


def reconstructed(clips: ClipSet, codec: Codec, keep: Path | None = None) -> ClipSet:
    """Clips through the codec, each as long as before; they are computed once where `keep` names a folder for them.

    UserError names a clip of another rate.
    """
    files = (
        {clip: keep / f"{codec.fingerprint}-{number:06d}.npy" for number, clip in enumerate(clips.ids)} if keep else {}
    )

    def once(clip: str) -> tuple[np.ndarray, int]:
        file = files[clip]
        if not file.exists():
            with atomic_path(file) as part:
                np.save(part, read(clip)[0])
        return np.load(file), codec.rate

    def read(clip: str) -> tuple[np.ndarray, int]:
        samples, rate = clips.read(clip)
        if rate != codec.rate:
            raise UserError(f"clip {clip!r}: {rate} Hz, the codec has {codec.rate} Hz; resample the clips (data.rate)")
        with torch.inference_mode():
            decoded = codec.decode(codec.encode(torch.from_numpy(samples)[None]))
        return decoded[0].cpu().numpy()[: len(samples)], rate

    return ClipSet(clips.ids, once if keep else read, clips.short)


def as_noise(clips: ClipSet, seed: int) -> ClipSet:
    """Noise of each clip's level and length, seeded by the position of the clip among the sorted ids."""
    position = {clip: i for i, clip in enumerate(sorted(clips.ids))}

    def read(clip: str) -> tuple[np.ndarray, int]:
        samples, rate = clips.read(clip)
        return noise_like(samples, seed * 1_000_003 + position[clip]), rate

    return ClipSet(clips.ids, read, clips.short)


@dataclass(frozen=True)
class SpaceSets:
    """The sets of clips that distances are measured between, in the space of one embedder."""

    reference: Embeddings
    real: Embeddings
    reconstruction: Embeddings
    noise: Embeddings
    few_genres: Embeddings | None = None

    def ordered(self, generated: Embeddings | None = None) -> dict[str, Embeddings]:
        """All sets but the reference, from near to far."""
        sets = {
            "real": self.real, "reconstruction": self.reconstruction, "generated": generated,
            "few_genres": self.few_genres, "noise": self.noise,
        }  # fmt: skip
        return {name: one for name, one in sets.items() if one is not None}

    def only(self, ids: Collection[str]) -> "SpaceSets":
        """The same reference with the clips `ids` of each set: another system may lack the audio for some prompts."""
        if set(ids) == set(self.real.ids):
            return self
        kept = {
            name: _some(one, sorted(ids)) for name in _NAMES if name != "reference" and (one := getattr(self, name))
        }
        return replace(self, **kept)


def _some(one: Embeddings, ids: Sequence[str]) -> Embeddings:
    """The clips `ids` of a set, under a digest of its own: results of other clips do not compare."""
    return replace(one.select(ids), digest=f"{one.digest}, {len(ids)} of {len(one.ids)} ({short_digest(ids)})")


@dataclass(frozen=True)
class ReferenceSets:
    """The embedded reference clips: by embedder in every space, audio prompts and training clips in that of CLAP alone.

    by_clip_models: real clips, reconstruction and noise (by these names) by each of the `Embedders.clip_models`.
    """

    spaces: Mapping[str, SpaceSets]
    prompts: Embeddings
    training: Embeddings | None = None
    by_clip_models: Mapping[str, Mapping[str, Embeddings]] = field(default_factory=dict)

    @property
    def clap(self) -> SpaceSets:
        """The sets in the space of CLAP."""
        return self.spaces["clap"]

    def pair(self, ids: Collection[str]) -> bool:
        """Whether samples with these ids are of test prompts, all or some, rather than of prompts of their own."""
        return set(ids) <= set(self.clap.real.ids)

    def only(self, ids: Collection[str]) -> "ReferenceSets":
        """The sets of the test prompts `ids`."""
        return replace(self, spaces={name: one.only(ids) for name, one in self.spaces.items()})

    def save(self, directory: str | Path) -> None:
        """Write one folder per set into `directory`, whole or not at all."""
        sets: dict[str, dict[str, Embeddings]] = {name: {} for name in _NAMES}
        for space, one in self.spaces.items():
            for name in _NAMES:
                if (found := getattr(one, name)) is not None:
                    sets[name][space] = found
        for model, by_set in self.by_clip_models.items():
            for name, one_set in by_set.items():
                sets[name][model] = one_set
        sets |= {
            "training": {} if self.training is None else {"clap": self.training},
            "prompts": {"clap": self.prompts},
        }
        embeddings.save(directory, sets)


_NAMES = tuple(one.name for one in fields(SpaceSets))
MEASURED = ("real", "reconstruction", "noise")  # by the clip models
_IN_CLAP = ("training", "prompts")


def embed_reference(clips: ReferenceClips, embedders: Embedders) -> ReferenceSets:
    """Embed the reference clips, with a progress bar for each set."""

    def embedded(name: str, spaces: Sequence[Embedder]) -> dict[str, Embeddings]:
        one: ClipSet | None = getattr(clips, name)
        if one is None:
            return {}
        return embed(track(one, f"embed {name}", len(one), "clip"), spaces, name, one.short, embedders.vectors)

    sets = {name: embedded(name, _embedders_of(name, embedders)) for name in _NAMES}
    return _reference_sets(sets, {name: embedded(name, [embedders.clap_space]).get("clap") for name in _IN_CLAP})


def load_reference(directory: Path, embedders: Embedders, real: Reader) -> ReferenceSets:
    """What `ReferenceSets.save` wrote; `real` reads the clips that the sets were made of.

    Raises UserError for a set that another embedder made, or that was made of other clips.
    """
    sets = {
        name: {one.name: embeddings.load(directory, name, one) for one in _embedders_of(name, embedders)}
        for name in _NAMES
        if name != "few_genres" or (directory / name).exists()
    }
    for name in ("reference", "real"):
        embeddings.check_clips(sets[name]["clap"], real, f"{directory / name}")
    return _reference_sets(sets, {name: embeddings.load(directory, name, embedders.clap_space) for name in _IN_CLAP})


def _embedders_of(name: str, embedders: Embedders) -> list[Embedder]:
    """The embedders of one set."""
    return [*embedders.spaces, *(embedders.clip_models if name in MEASURED else ())]


def _reference_sets(sets: Mapping[str, Mapping[str, Embeddings]], in_clap: Mapping[str, Any]) -> ReferenceSets:
    spaces = {
        space: SpaceSets(**{name: found[space] for name, found in sets.items() if found}) for space in sets["reference"]
    }
    models = {model: {name: sets[name][model] for name in MEASURED} for model in sets["real"] if model not in spaces}
    return ReferenceSets(spaces, **in_clap, by_clip_models=models)
