"""All scores of audio: what the stages call. The parts are in `clap`, `distances` and `signals`."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from musicgen_lite.clap import Clap
from musicgen_lite.codec import Codec
from musicgen_lite.errors import UserError
from musicgen_lite.io.progress import track
from musicgen_lite.scoring.audio import clap, signals
from musicgen_lite.scoring.audio.chroma import chroma_likeness
from musicgen_lite.scoring.audio.contrast import likeness_to_prompts
from musicgen_lite.scoring.audio.distances import audio_distances, noise_like
from musicgen_lite.scoring.audio.embedders import ClapEmbedder
from musicgen_lite.scoring.audio.embeddings import Embedder, Embeddings, Item, embed
from musicgen_lite.scoring.audio.memorisation import memorisation
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.pairing import check_same, check_unique
from musicgen_lite.scoring.statistics.scores import Scores

Sets = Mapping[str, Mapping[str, Embeddings]]
"""Set → embedder → embeddings: reference, real, reconstruction, noise and, where genres are known, few_genres in every
space; training (clips that a model may have learnt by heart) and prompts (audio prompts of the real clips) in CLAP's."""

NEAR, FAR = ("real", "reconstruction"), ("few_genres", "noise")
IN_CLAP_ONLY = ("training", "prompts")


@dataclass(frozen=True)
class Audio:
    """Clips by id, read one at a time: `read(id)` gives samples `[T]` and their rate in Hz. Iterates as often as needed.

    short: ids of those that are known to be shorter than the others.
    """

    ids: Sequence[str]
    read: Callable[[str], tuple[np.ndarray, int]]
    short: Collection[str] = ()

    def __iter__(self) -> Iterator[Item]:
        return ((clip, *self.read(clip)) for clip in self.ids)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Generated:
    """Samples for test prompts: captions by id, `count` candidates each, and the index of the one that was picked.

    `read(id, k)` gives candidate k, for the ids in `short` no longer than the real clip; `tracks`: which track each test clip is
    cut from. `prompts` holds the audio prompts by the same ids, where there were any; they are not part of the candidates' audio.
    """

    captions: Mapping[str, str]
    tracks: Mapping[str, str]
    picked: Mapping[str, int]
    count: int
    read: Callable[[str, int], tuple[np.ndarray, int]]
    prompts: Audio | None = None
    short: Collection[str] = ()

    def candidates(self) -> Iterator[Item]:
        """Every candidate, by sorted id."""
        for clip in sorted(self.captions):
            for k in range(self.count):
                yield (clap.candidate_id(clip, k), *self.read(clip, k))

    def chosen(self) -> Audio:
        """The picked candidates under their prompts' ids."""
        return Audio(sorted(self.captions), lambda clip: self.read(clip, self.picked[clip]), self.short)

    def check(self) -> None:
        """Raise UserError for too few prompts, a prompt without a pick, or a pick that does not exist."""
        check_unique(list(self.captions), "generated samples")
        check_same(self.captions, self.picked, "picks of generated samples")
        for clip, k in self.picked.items():
            if not 0 <= k < self.count:
                raise UserError(f"sample {clip!r}: candidate {k} was picked, but there are {self.count}")


def reference_audio(
    reference: Audio, real: Audio, codec: Codec, seed: int, few_genres: Audio | None = None
) -> dict[str, Audio]:
    """What does not depend on a model: the reference half, and the other half real, through the codec, and as noise.

    Noise has each clip's level and is seeded by the clip's place among the sorted ids. `few_genres` are real clips of
    a part of the genres, under the ids of `real`: how far music lies that is good but not what was asked for.
    """
    place = {clip: i for i, clip in enumerate(sorted(real.ids))}

    def through_codec(clip: str) -> tuple[np.ndarray, int]:
        samples, rate = real.read(clip)
        if rate != codec.rate:
            raise UserError(f"clip {clip!r}: {rate} Hz, the codec has {codec.rate} Hz; resample the clips (data.rate)")
        with torch.inference_mode():
            decoded = codec.decode(codec.encode(torch.from_numpy(samples)[None]))
        return decoded[0].cpu().numpy()[: len(samples)], rate

    def as_noise(clip: str) -> tuple[np.ndarray, int]:
        samples, rate = real.read(clip)
        return noise_like(samples, seed * 1_000_003 + place[clip]), rate

    sets = {"reference": reference, "real": real, "reconstruction": Audio(real.ids, through_codec, real.short)}
    sets |= {} if few_genres is None else {"few_genres": few_genres}
    return sets | {"noise": Audio(real.ids, as_noise, real.short)}


def embed_all(audio: Mapping[str, Audio], embedders: Sequence[Embedder]) -> dict[str, dict[str, Embeddings]]:
    """Each set of clips in each space. Save it with `embeddings.save`."""
    return {
        name: embed(track(one, f"embed {name}", len(one), "clip"), embedders, name, one.short)
        for name, one in audio.items()
    }


def score_reference(
    audio: Mapping[str, Audio],
    sets: Sets,
    captions: Mapping[str, str],
    tracks: Mapping[str, str],
    scorer: Clap,
    bootstrap: int,
    seed: int,
) -> Scores:
    """The ends of every scale: FAD and KAD of every set, CLAP and tempo with their captions, likeness to the prompts.

    `audio` and `sets` hold what `reference_audio` gave, and the audio prompts of the real clips as "prompts"; `captions`
    and `tracks` are those of the real clips by id.
    """
    scores = Scores()
    for space in sets["reference"]:
        scores.update(audio_distances(sets["reference"][space], _ordered(sets, space), bootstrap, seed))
    text = clap.embed_captions(captions, scorer)
    for name in ("real", "reconstruction", "noise"):
        scores.update(clap.text_audio(text, sets[name]["clap"], f"clap_{name}", bootstrap, seed))
    real = sets["real"]["clap"]
    scores.update(_like_prompts(audio["real"], real, audio["prompts"], tracks, sets, bootstrap, seed, "_real"))
    for name in ("real", "reconstruction"):
        scores.update(signals.signal_scores(audio[name], captions).renamed(f"_{name}"))
    shown: dict[str, str] = {}
    for name, short in (("real", "real"), ("reconstruction", "recon"), ("noise", "noise")):
        shown |= {f"clap_{short}": f"clap_{name}", f"tempo_{short}": f"tempo_{name}"}
        shown |= {f"{title}_{short}": f"{estimate}_{name}" for title, estimate in _distances(sets["reference"])}
    scores.columns = {column: name for column, name in shown.items() if name in scores.estimates}
    scores.draws.clear()
    return scores


def score_generated(
    generated: Generated,
    sets: Sets,
    embedders: Sequence[Embedder],
    scorer: Clap,
    judge: Clap | None = None,
    *,
    bootstrap: int = 2000,
    seed: int = 0,
    suffix: str = "",
) -> Scores:
    """Score the samples of one model: CLAP with and without picking, FAD and KAD in every space, signals, diversity,
    nearness to training clips, and, where there were audio prompts, likeness to them.

    `scorer` is the CLAP that picked, `judge` one that did not. `embedders` are those that `sets` were made with; the one
    named "clap" must wrap `scorer`. `suffix` is put behind the names of all figures, to keep a second kind of samples
    (with audio prompt) apart. Raises UserError by name for whatever is missing, twice there, not finite or not alike.
    """
    generated.check()
    rulers_of_sets = {embedder.name: embedder.fingerprint for embedder in embedders}
    if rulers_of_sets.get("clap") != scorer.fingerprint:
        raise ValueError(f"no embedder named clap wraps the scorer {scorer.fingerprint}: {rulers_of_sets}")
    ids = sorted(generated.captions)
    scorers = {"clap": scorer} | ({} if judge is None else {"judge": judge})
    rulers = [ClapEmbedder(model, name) for name, model in scorers.items()]
    total = len(ids) * generated.count
    short = {clap.candidate_id(clip, k) for clip in generated.short for k in range(generated.count)}
    made = track(generated.candidates(), "CLAP of candidates", total, "clip")
    candidates = embed(made, rulers, "generated samples", short)
    scores = Scores()
    for name, model in scorers.items():
        scores.update(_by_clap(generated, candidates[name], name, model, bootstrap, seed))
    chosen = track(generated.chosen(), "embed picked samples", len(ids), "clip")
    own = embed(chosen, embedders, "picked samples", generated.short)
    for space, one in own.items():
        ordered = _ordered(sets, space, one)
        scores.update(audio_distances(sets["reference"][space], ordered, bootstrap, seed))
    if generated.prompts is not None:
        tracks, clips = generated.tracks, generated.chosen()
        scores.update(_like_prompts(clips, own["clap"], generated.prompts, tracks, sets, bootstrap, seed))
    if "training" in sets:
        near = memorisation(own["clap"], sets["real"]["clap"], sets["training"]["clap"], bootstrap, seed)
        scores.update(near)
    scores.update(signals.signal_scores(generated.chosen(), generated.captions))
    scores.columns = _columns(scores, own)
    scores.draws = {name: draws for name, draws in scores.draws.items() if name.endswith("_generated")}
    scores = scores.renamed(suffix)
    if generated.prompts is not None:
        # There is but one kind of samples that has audio prompts: these names need no suffix.
        shown = {
            "prompt_sim": "prompt_similarity",
            "prompt_sim_gain": "prompt_similarity_gain",
            "chroma_gain": "chroma_gain",
        }
        named = {column: f"{name}{suffix}" for column, name in shown.items()}
        scores.columns |= {column: name for column, name in named.items() if name in scores.estimates}
    return scores


def _by_clap(generated: Generated, candidates: Embeddings, name: str, model: Clap, bootstrap: int, seed: int) -> Scores:
    """Everything that one CLAP says about the samples: the picked ones with their captions, and what picking brought."""
    text = clap.embed_captions(generated.captions, model)
    picked = np.array([generated.picked[clip] for clip in text.ids])
    chosen = candidates.select([clap.candidate_id(c, k) for c, k in zip(text.ids, picked, strict=True)])
    chosen = replace(chosen, ids=tuple(text.ids), silent=())
    scores = clap.text_audio(text, chosen, name, bootstrap, seed)
    values = clap.of_candidates(text, candidates, generated.count)
    scores.add(clap.reranking(values, picked, name, bootstrap, seed))
    scores.tables[name] = scores.tables[name].assign(
        picked=picked, **{f"candidate_{k}": values[:, k] for k in range(generated.count)}
    )
    if name == "clap" and generated.count > 1:
        apart = clap.diversity(text, candidates, generated.count)
        scores.add({"diversity": intervals.mean(apart, bootstrap, seed)})
        scores.tables[name]["diversity"] = apart
    scores.notes[f"{name}_model"] = {
        "fingerprint": model.fingerprint,
        "candidates": generated.count,
        "silent": list(candidates.silent),
    }
    return scores


def _like_prompts(
    clips: Audio,
    own: Embeddings,
    prompts: Audio,
    tracks: Mapping[str, str],
    sets: Sets,
    bootstrap: int,
    seed: int,
    suffix: str = "",
) -> Scores:
    """Likeness of clips to their audio prompts, by CLAP and by chroma; the prompts are not part of the clips."""
    check_same(clips.ids, prompts.ids, "audio prompts")
    of = {clip: tracks[clip] for clip in clips.ids}
    scores = likeness_to_prompts(own, sets["prompts"]["clap"], of, f"prompt_similarity{suffix}", bootstrap, seed)
    scores.update(chroma_likeness(clips.read, prompts.read, of, f"chroma{suffix}", bootstrap, seed))
    return scores


def _ordered(sets: Sets, space: str, generated: Embeddings | None = None) -> dict[str, Embeddings]:
    """The sets in one space, from near to far."""
    near = {name: sets[name][space] for name in NEAR}
    far = {name: sets[name][space] for name in FAR if name in sets}
    return near | ({} if generated is None else {"generated": generated}) | far


def _distances(spaces: Iterable[str]) -> list[tuple[str, str]]:
    """(short name, estimate without its set) of every distance; FAD and KAD without a space are those of CLAP."""
    return [
        (title if space == "clap" else f"{title}_{space}", f"{space}_{title}")
        for space in spaces
        for title in ("fad", "fad_inf", "kad")
    ]


def _columns(scores: Scores, spaces: Iterable[str]) -> dict[str, str]:
    """Short names of the figures to compare runs by."""
    shown = {
        "clap": "clap", "clap_shuffled": "clap_shuffled", "clap_gain": "clap_gain", "clap_r1": "clap_r1", "clap_r10": "clap_r10",
        "clap_n1": "clap_first", "judge": "judge", "judge_gain": "judge_picked_over_random", "diversity": "diversity",
        "memorised": "memorised", "tempo": "tempo", "tempo_octaves": "tempo_octaves", "silent": "silent",
        "clipping": "clipping",
    }  # fmt: skip
    shown |= {title: f"{estimate}_generated" for title, estimate in _distances(spaces)}
    return {column: name for column, name in shown.items() if name in scores.estimates}
