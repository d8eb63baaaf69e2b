"""All scores of audio: what the stages call. The parts are in `clap`, `distances`, `memorisation`, `chroma` and `signals`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from musicgen_lite.clap import Clap
from musicgen_lite.io.hashing import short_digest
from musicgen_lite.io.progress import track
from musicgen_lite.scoring.audio import clap, signals
from musicgen_lite.scoring.audio.chroma import chroma_likeness
from musicgen_lite.scoring.audio.clip_models import ClipModel
from musicgen_lite.scoring.audio.contrast import likeness_to_prompts
from musicgen_lite.scoring.audio.distances import audio_distances, distance_to_statistics
from musicgen_lite.scoring.audio.embedders import ClapEmbedder, Embedders
from musicgen_lite.scoring.audio.embeddings import Compute, Embedder, Embeddings, compute, embed, one_by_one
from musicgen_lite.scoring.audio.memorisation import memorisation
from musicgen_lite.scoring.audio.protocols import AttmClap
from musicgen_lite.scoring.audio.sets import ClipSet, GeneratedSet, ReferenceClips, ReferenceSets
from musicgen_lite.scoring.audio.statistics_file import Statistics
from musicgen_lite.scoring.metrics import PROMPTED, columns
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from musicgen_lite.scoring.statistics.pairing import check_same
from musicgen_lite.scoring.statistics.scores import Scores


def score_reference(
    clips: ReferenceClips,
    sets: ReferenceSets,
    model: Clap,
    bootstrap: Bootstrap,
    clip_models: Sequence[ClipModel] = (),
) -> Scores:
    """The ends of every scale: FAD and KAD of every set, CLAP, rhythm and key with their captions, likeness to the
    prompts, and what `clip_models` say, by which the sets were embedded.
    """
    scores = Scores()
    for space in sets.spaces.values():
        scores.update(audio_distances(space.reference, space.ordered(), bootstrap))
    in_clap = sets.clap.ordered()
    for name, one in (("clap", model), *((("attm", AttmClap(model)),) if "attm" in sets.spaces else ())):
        text = clap.embed_captions(clips.captions, one)
        for which in ("real", "reconstruction", "noise"):
            found = sets.spaces[name].ordered()[which]
            scores.update(clap.text_audio(text, found, f"{name}_{which}", bootstrap))
    for clip_model in clip_models:
        by_set = sets.by_clip_models[clip_model.name]
        for name, own in by_set.items():
            scores.update(clip_model.scores(own, by_set["real"], f"_{name}", bootstrap))
    likeness = _like_prompts(clips.real, in_clap["real"], clips.prompts, sets.prompts, clips.tracks, bootstrap, "_real")
    scores.update(likeness)
    for name, heard in (("real", clips.real), ("reconstruction", clips.reconstruction), ("noise", clips.noise)):
        scores.update(signals.signal_scores(heard, clips.captions, bootstrap).renamed(f"_{name}"))
    scores.columns = columns("reference", scores.estimates)
    scores.draws.clear()
    return scores


def score_generated(generated: GeneratedSet, sets: ReferenceSets, embedders: Embedders, bootstrap: Bootstrap) -> Scores:
    """Score the samples of one model: CLAP with and without reranking, FAD and KAD in every space, signals, diversity,
    nearness to training clips, and, for samples with audio prompts, likeness to these.

    `sets` are made with the same embedders. All names of samples with audio prompts end in `_prompted`. Raises UserError by
    name for whatever is missing, occurs twice, is not finite or not alike. Another system's samples for some of the prompts
    are held against the real clips of these alone, those for prompts of its own against the reference alone.
    """
    generated.check()
    scores = Scores()
    candidates = _embed_candidates(generated, embedders)
    for name, model in embedders.claps.items():
        scores.update(_by_clap(generated, candidates[name], name, model, bootstrap))
    picked = track(generated.chosen(), "embed picked samples", len(generated), "clip")
    own = embed(
        picked, [*embedders.spaces, *embedders.clip_models], "picked samples", generated.short, embedders.vectors
    )
    scores.update(_to_reference(own, sets, generated, bootstrap))
    for clip_model in embedders.clip_models:
        real = sets.by_clip_models[clip_model.name]["real"] if sets.pair(generated.captions) else None
        scores.update(clip_model.scores(own[clip_model.name], real, "", bootstrap))
    if generated.prompts is not None:
        clips, prompts = generated.chosen(), generated.prompts
        scores.update(_like_prompts(clips, own["clap"], prompts, sets.prompts, generated.tracks, bootstrap))
    scores.update(signals.signal_scores(generated.chosen(), generated.captions, bootstrap))
    scores.draws = {name: draws for name, draws in scores.draws.items() if name.endswith("_generated")}
    scores = scores if generated.prompts is None else scores.renamed(PROMPTED)
    scores.columns = columns("audio", scores.estimates)
    return scores


def score_clips(
    clips: ClipSet,
    captions: Mapping[str, str],
    reference: ClipSet | Statistics,
    embedders: Embedders,
    spaces: Sequence[Embedder],
    bootstrap: Bootstrap,
    compute: Compute = compute,
) -> Scores:
    """Score any clips against a reference, by what the stages score generated samples by; the ids of both differ.

    captions: of those clips that have one; none or two and more. CLAP, tempo and key are scored of these alone.
    spaces: those in which distances are measured, out of `embedders.spaces`. Raises UserError by name for what is not
    alike, for fewer than two clips, and for statistics of another dimension.
    """
    if isinstance(reference, Statistics):
        for space in spaces:
            reference.check(space)
    models = {name: ClapEmbedder(model, name) for name, model in embedders.claps.items()} if captions else {}
    needed = {one.name: one for one in (*models.values(), *spaces, *embedders.clip_models)}
    vectors = partial(one_by_one, compute=compute)
    own = embed(track(clips, "embed clips", len(clips), "clip"), list(needed.values()), "clips", clips.short, vectors)
    scores = Scores()
    if isinstance(reference, Statistics):
        for space in spaces:
            scores.update(distance_to_statistics(reference, own[space.name], "generated", bootstrap))
    else:
        given = track(reference, "embed reference", len(reference), "clip")
        base = embed(given, spaces, "reference", reference.short, vectors)
        for space in spaces:
            scores.update(audio_distances(base[space.name], {"generated": own[space.name]}, bootstrap))
    for name, model in models.items():
        text = clap.embed_captions(captions, model.scorer)
        scores.update(clap.text_audio(text, own[name].select(text.ids), name, bootstrap))
    for clip_model in embedders.clip_models:
        scores.update(clip_model.scores(own[clip_model.name], None, "", bootstrap))
    told = {clip: captions.get(clip, "") for clip in clips.ids}
    scores.update(signals.signal_scores(track(clips, "measure clips", len(clips), "clip"), told, bootstrap))
    scores.columns = columns("audio", scores.estimates)
    return scores


def _to_reference(
    own: Mapping[str, Embeddings], sets: ReferenceSets, generated: GeneratedSet, bootstrap: Bootstrap
) -> Scores:
    """Distances in every space and nearness to training clips, beside the real clips of the same prompts, if there are any."""
    scores = Scores()
    if generated.external and not sets.pair(generated.captions):
        for name, space in sets.spaces.items():
            scores.update(audio_distances(space.reference, {"generated": own[name]}, bootstrap))
            # What two results have to share before they are compared.
            scores.notes[name]["sets"]["real"] = {
                "digest": f"none, prompts of its own ({short_digest(generated.captions)})"
            }
        return scores
    sets = sets.only(generated.captions) if generated.external else sets
    for name, space in sets.spaces.items():
        scores.update(audio_distances(space.reference, space.ordered(own[name]), bootstrap))
    if sets.training is not None:
        scores.update(memorisation(own["clap"], sets.clap.real, sets.training, bootstrap))
    return scores


def _embed_candidates(generated: GeneratedSet, embedders: Embedders) -> dict[str, Embeddings]:
    """Every candidate in the space of each CLAP."""
    candidates = track(generated.candidates(), "CLAP of candidates", len(generated) * generated.count, "clip")
    return embed(candidates, embedders.clap_spaces, "generated samples", generated.short_candidates, embedders.vectors)


def _by_clap(generated: GeneratedSet, candidates: Embeddings, name: str, model: Clap, bootstrap: Bootstrap) -> Scores:
    """The scores of one CLAP: the picked samples with their captions, and the best-of-N gain."""
    text = clap.embed_captions(generated.captions, model)
    picked = np.array([generated.picked[clip] for clip in text.ids])
    chosen = candidates.select([clap.candidate_id(c, k) for c, k in zip(text.ids, picked, strict=True)])
    chosen = replace(chosen, ids=tuple(text.ids), silent=())
    scores = clap.text_audio(text, chosen, name, bootstrap)
    values = clap.of_candidates(text, candidates, generated.count)
    scores.add(clap.reranking(values, picked, name, bootstrap))
    scores.tables[name] = scores.tables[name].assign(
        picked=picked, **{f"candidate_{k}": values[:, k] for k in range(generated.count)}
    )
    if name == "clap" and generated.count > 1:
        apart = clap.diversity(text, candidates, generated.count)
        scores.add({"diversity": intervals.mean(apart, bootstrap)})
        scores.tables[name]["diversity"] = apart
    scores.notes[f"{name}_model"] = {
        "fingerprint": model.fingerprint,
        "candidates": generated.count,
        "silent": list(candidates.silent),
    }
    return scores


def _like_prompts(
    clips: ClipSet,
    own: Embeddings,
    prompts: ClipSet,
    prompts_in_clap: Embeddings,
    tracks: Mapping[str, str],
    bootstrap: Bootstrap,
    suffix: str = "",
) -> Scores:
    """Likeness of clips to their audio prompts, by CLAP and by chroma; the prompts are not part of the clips."""
    check_same(clips.ids, prompts.ids, "audio prompts")
    of = {clip: tracks[clip] for clip in clips.ids}
    scores = likeness_to_prompts(own, prompts_in_clap, of, f"prompt_similarity{suffix}", bootstrap)
    scores.update(chroma_likeness(clips.read, prompts.read, of, f"chroma{suffix}", bootstrap))
    return scores
