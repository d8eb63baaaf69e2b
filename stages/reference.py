"""What every result is measured against: real clips, through the codec, of few genres, noise and training clips, embedded once."""

from musicgen_lite import codec
from musicgen_lite.params import Params
from musicgen_lite.scoring import embeddings
from musicgen_lite.scoring.audio_scores import Audio, embed_all, reference_audio, score_reference
from musicgen_lite.scoring.clap_model import load_clap
from musicgen_lite.scoring.embedders import all_embedders, origins
from musicgen_lite.scoring.intervals import BOOTSTRAP_SEED
from musicgen_lite.scoring.recoding import codes_kept
from musicgen_lite.sources.clips import ClipStore
from musicgen_lite.sources.evaluation import EVALUATION_SEED, GENRE, few_genres, halves, some_training_clips, window
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
        resolve_model_path(params.codec.name), params.codec.num_codebooks, device, params.trusted_pickles
    )
    clap = load_clap(resolve_model_path(params.score.clap), params.trusted_pickles, device)
    clips, start = ClipStore(CLIPS), params.data.prompt_seconds
    read, heard = window(clips, decoder.rate, start, params.sample.seconds), window(clips, decoder.rate, 0.0, start)
    reference, prompted = halves(clips, params.sample.prompts)
    ids = prompted["id"].tolist()
    others, why_not = few_genres(clips, ids)
    wrong = Audio(ids, lambda clip: read(others[clip])) if others else None
    audio = reference_audio(Audio(reference["id"].tolist(), read), Audio(ids, read), decoder, EVALUATION_SEED, wrong)
    in_clap = {"training": Audio(some_training_clips(clips, params.score.training_clips), read)}
    in_clap["prompts"] = Audio(ids, heard)
    spaces = all_embedders(decoder, clap)
    sets = embed_all(audio, spaces) | embed_all(in_clap, spaces[:1])
    captions = dict(zip(prompted["id"], prompted["caption"], strict=True))
    scores = score_reference(audio | in_clap, sets, captions, clap, params.score.bootstrap, BOOTSTRAP_SEED)
    scores.update(codes_kept(audio["real"], decoder, params.score.bootstrap, BOOTSTRAP_SEED))
    genres = clips.index.set_index("id")[GENRE] if others else {}
    scores.notes["few_genres"] = sorted({genres[i] for i in others.values()}) or f"withheld: {why_not}"
    scores.notes |= origins(clap)
    scores.notes["training_clips"] = {"searched": len(in_clap["training"]), "of": len(clips.split("train"))}
    embeddings.save(REFERENCE, sets)
    scores.write(SCORES_REFERENCE)


if __name__ == "__main__":
    run(main)
