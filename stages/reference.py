"""What every result is measured against: real clips, through the codec, of few genres, noise and training clips, embedded once."""

import sys

from musicgen_lite import codec
from musicgen_lite.clap import load as load_clap
from musicgen_lite.io.clips import ClipStore
from musicgen_lite.io.windows import ClipWindows, Windows
from musicgen_lite.params import Params
from musicgen_lite.scoring.audio import embeddings
from musicgen_lite.scoring.audio.embedders import all_embedders, origins
from musicgen_lite.scoring.audio.scores import Audio, embed_all, reference_audio, score_reference
from musicgen_lite.scoring.audio.token_consistency import codes_kept
from musicgen_lite.scoring.statistics.intervals import BOOTSTRAP_SEED
from musicgen_lite.sources.splits import EVALUATION_SEED, GENRE, few_genres, few_tracks, halves, some_training_clips
from stages.runtime import (
    CLIPS,
    REFERENCE,
    SCORES_REFERENCE,
    resolve_model_path,
    run,
    set_up_torch,
)


def main(params: Params) -> None:
    device = set_up_torch(params.compute)
    decoder = codec.load(
        resolve_model_path(params.codec.name),
        num_codebooks=params.codec.num_codebooks,
        device=device,
        trusted=params.trusted_pickles,
    )
    clap = load_clap(resolve_model_path(params.score.clap), device=device, trusted=params.trusted_pickles)
    clips = ClipStore(CLIPS)
    windows = Windows(decoder.rate, params.data.prompt_seconds, params.data.seconds, params.sample.seconds)
    heard = ClipWindows(clips, windows)
    reference, prompted = halves(clips, params.sample.prompts)
    doubt = few_tracks(reference, prompted)
    if doubt:
        print(f"warning: {doubt}", file=sys.stderr)
    ids = prompted["id"].tolist()
    others, why_not = few_genres(clips, ids)

    def targets(ids: list[str]) -> Audio:
        return Audio(ids, heard.target, heard.short(ids))

    short = heard.short(others.values())
    wrong = Audio(ids, lambda clip: heard.target(others[clip]), {clip for clip in others if others[clip] in short})
    real = targets(reference["id"].tolist()), targets(ids)
    audio = reference_audio(*real, decoder, EVALUATION_SEED, wrong if others else None)
    in_clap = {"training": targets(some_training_clips(clips, params.score.training_clips))}
    in_clap["prompts"] = Audio(ids, heard.prompt, heard.short_prompts(ids))
    spaces = all_embedders(decoder, clap)
    sets = embed_all(audio, spaces) | embed_all(in_clap, spaces[:1])
    captions, tracks = (dict(zip(prompted["id"], prompted[name], strict=True)) for name in ("caption", "track_id"))
    scores = score_reference(audio | in_clap, sets, captions, tracks, clap, params.score.bootstrap, BOOTSTRAP_SEED)
    scores.update(codes_kept(audio["real"], decoder, params.score.bootstrap, BOOTSTRAP_SEED))
    genres = clips.index.set_index("id")[GENRE] if others else {}
    scores.notes["few_genres"] = sorted({genres[i] for i in others.values()}) or f"withheld: {why_not}"
    scores.notes |= origins(clap) | ({"tracks": doubt} if doubt else {})
    scores.notes["training_clips"] = {"searched": len(in_clap["training"]), "of": len(clips.split("train"))}
    embeddings.save(REFERENCE, sets)
    scores.write(SCORES_REFERENCE)


if __name__ == "__main__":
    run(main)
