"""What every result is measured against: real test clips, their way through the codec, and noise, embedded once."""

from musicgen_lite import codec
from musicgen_lite.params import Params
from musicgen_lite.scoring import embeddings
from musicgen_lite.scoring.audio_scores import Audio, embed_all, reference_audio, score_reference
from musicgen_lite.scoring.clap_model import load_clap
from musicgen_lite.sources.clips import ClipStore
from musicgen_lite.store import write_json
from stages.common import CLIPS, METRICS_REFERENCE, REFERENCE, SCORES_REFERENCE, run, set_up_torch, write_scores
from stages.corpus import halves, window
from stages.rulers import embedders


def main(params: Params) -> None:
    device = set_up_torch(params.compute)
    decoder = codec.load(params.codec.name, params.codec.num_codebooks, device=device)
    clap = load_clap(params.score.clap)
    clips = ClipStore(CLIPS)
    read = window(clips, decoder.rate, params.data.prompt_seconds, params.sample.seconds)
    reference, prompted = halves(clips, params.sample.prompts)
    audio = reference_audio(
        Audio(reference["id"].tolist(), read), Audio(prompted["id"].tolist(), read), decoder, params.seed
    )
    sets = embed_all(audio, embedders(decoder, clap))
    captions = dict(zip(prompted["id"], prompted["caption"], strict=True))
    scores = score_reference(audio, sets, captions, clap, params.score.bootstrap, params.seed)
    embeddings.save(REFERENCE, sets)
    write_scores(SCORES_REFERENCE, scores)
    write_json(METRICS_REFERENCE, scores.metrics)


if __name__ == "__main__":
    run(main)
