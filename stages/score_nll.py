"""NLL of the held-out tokens with the matching caption, a shuffled one and none, beside baselines on the same cells."""

from musicgen_lite import models
from musicgen_lite.io.arrays import ArrayStore
from musicgen_lite.io.files import write_json, write_text
from musicgen_lite.params import Params
from musicgen_lite.pretrained.shipped import check_parts
from musicgen_lite.scoring.likelihood import baselines, nll
from musicgen_lite.scoring.metrics import NOT_APPLICABLE, codebook_estimate
from musicgen_lite.scoring.statistics.intervals import Bootstrap, rounded
from musicgen_lite.scoring.statistics.scores import Scores
from stages.runtime import (
    CODEBOOKS,
    METRICS_NLL,
    MODEL,
    SCORES_NLL,
    TEXT,
    TOKENS,
    run,
    set_up_torch,
)

NO_LIKELIHOOD = {
    "external": "the audio of another system has no likelihood",
    "diffusers": "a pipeline of diffusers has no likelihood of codes",
}


def codebooks(scores: Scores, count: int) -> str:
    """NLL of each codebook with its interval and the baselines' NLL, as the CSV that `dvc plots` draws as bars."""
    names = ("caption", "copy", "bigram", "unigram")
    lines = ["codebook,nll,low,high,copy,bigram,unigram"]
    for q in range(1, count + 1):
        own, *baseline = (scores.estimates[codebook_estimate(f"nll_{name}", q)] for name in names)
        values = [own.value, own.low, own.high, *(one.value for one in baseline)]
        lines.append(f"codebook {q}," + ",".join(str(rounded(value)) for value in values))
    return "\n".join(lines) + "\n"


def write(scores: Scores, num_codebooks: int) -> None:
    """Write the scores, their headline, and the NLL of each codebook."""
    scores.write(SCORES_NLL)
    write_json(METRICS_NLL, scores.headline)
    write_text(CODEBOOKS, codebooks(scores, num_codebooks))


def main(params: Params) -> None:
    if params.model.type in NO_LIKELIHOOD:
        write(Scores(notes={NOT_APPLICABLE: NO_LIKELIHOOD[params.model.type]}), 0)
        return
    device = set_up_torch(params.compute)
    tokens, text, prompts = ArrayStore(TOKENS / "target"), ArrayStore(TEXT), ArrayStore(TOKENS / "prompt")
    model, _ = models.load(MODEL, device)
    check_parts(MODEL, model.config, tokens.meta["fingerprint"], text.meta["fingerprint"])
    examples = nll.read_examples("test", tokens, text, prompts if params.model.type == "b" else None)
    train, validation = (nll.read_examples(split, tokens, text) for split in ("train", "validation"))
    baseline = baselines.fit(
        (example.codes for example in train), (example.codes for example in validation),
        tokens.meta["num_codebooks"], tokens.meta["codebook_size"],
    )  # fmt: skip
    scores = nll.score(
        model,
        examples,
        baseline,
        frame_rate=tokens.meta["frame_rate"],
        bootstrap=Bootstrap(params.score.bootstrap),
    )
    scores.notes["codec"] = tokens.meta["fingerprint"]
    write(scores, tokens.meta["num_codebooks"])


if __name__ == "__main__":
    run(main)
