"""Train the shipped text encoder: `python -m pretraining.text`.

A small T5 encoder learns from captions alone: from the mean of its token vectors a linear layer is to tell genre, tempo
class, mood, key, mode, instruments, rain and tempo of the piece, whichever words the caption has for them.
"""

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

import pretraining  # noqa: F401  (puts this tree's src first)
from musicgen_lite.io.files import write_json
from musicgen_lite.io.progress import track
from musicgen_lite.sources import synthetic
from musicgen_lite.sources.synthetic import Piece
from musicgen_lite.text import TextEncoder
from musicgen_lite.text.hub import T5TextEncoder
from pretraining import attributes, probe, shipping, tokenizer
from pretraining.schedule import learning_rate

HERE = Path(__file__).parent
MODEL = HERE / "models" / "text"


@dataclass(frozen=True)
class Corpus:
    """Pieces and, for each, several captions of it."""

    pieces: list[Piece]
    captions: list[list[str]]

    @property
    def texts(self) -> list[str]:
        return [text for texts in self.captions for text in texts]


def compose(first_seed: int, count: int, captions: int) -> Corpus:
    """`count` pieces from `first_seed` on; caption number i of a seed has the caption seed i x 1e9 + seed."""
    seeds = range(first_seed, first_seed + count)
    pieces = [synthetic.compose(seed) for seed in track(seeds, "compose", unit="piece")]
    texts = [
        [synthetic.describe(piece, number * 1_000_000_000 + seed)[0] for number in range(captions)]
        for seed, piece in zip(seeds, pieces, strict=True)
    ]
    return Corpus(pieces, texts)


def build(params: dict[str, Any], pieces: int) -> Any:
    """A T5EncoderModel with seeded random weights for a tokenizer of `pieces`."""
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=pieces,
        d_model=params["d_model"],
        d_kv=params["d_model"] // params["heads"],
        d_ff=params["d_ff"],
        num_layers=params["layers"],
        num_heads=params["heads"],
        feed_forward_proj="gated-gelu",
        dropout_rate=params["dropout"],
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    torch.manual_seed(params["seed"])
    return T5EncoderModel(config)


def mean(states: Tensor, mask: Tensor) -> Tensor:
    """Mean of `states` `[B, L, D]` over the places where `mask` `[B, L]` is 1: `[B, D]`."""
    weight = mask.unsqueeze(-1).to(states.dtype)
    return (states * weight).sum(1) / weight.sum(1)


def draw(rng: random.Random, tokens: list[list[list[int]]], size: int) -> tuple[list[int], list[list[int]]]:
    """`size` pieces of music and the ids of a caption of each, of about equal length, so that little is padded."""
    rows = rng.sample(range(len(tokens)), min(4 * size, len(tokens)))
    drawn = sorted(((row, rng.choice(tokens[row])) for row in rows), key=lambda pair: len(pair[1]))
    start = rng.randrange(len(drawn) - size + 1)
    chosen = drawn[start : start + size]
    return [row for row, _ in chosen], [ids for _, ids in chosen]


def train(params: dict[str, Any], corpus: Corpus, pieces: Any) -> tuple[Any, list[dict[str, float]]]:
    """Train on `corpus` with the tokenizer `pieces`; the model in evaluation mode and the losses along the way."""
    model = build(params, len(pieces))
    classifier = nn.Linear(params["d_model"], attributes.WIDTH)
    learned = [*model.parameters(), *classifier.parameters()]
    optimizer = torch.optim.AdamW(learned, weight_decay=params["weight_decay"], betas=(0.9, 0.98), fused=True)
    targets = attributes.targets(corpus.pieces)
    tokens = [pieces(texts).input_ids for texts in corpus.captions]
    model.train()
    curve: list[dict[str, float]] = []
    total = 0.0
    for step in track(range(params["steps"]), "text encoder", unit="step"):
        rng = random.Random(f"text {params['seed']} {step}")
        torch.manual_seed(params["seed"] * 2**31 + step)
        rows, batch = draw(rng, tokens, params["batch_size"])
        padded = pieces.pad({"input_ids": batch}, return_tensors="pt")
        ids, mask = padded.input_ids, padded.attention_mask
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=params["precision"] == "bf16"):
            states = model(input_ids=ids, attention_mask=mask).last_hidden_state
        loss = attributes.loss(classifier(mean(states.float(), mask)), targets[rows])
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, params)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        total += float(loss.detach()) / 100
        if (step + 1) % 100 == 0:
            print(f"step {step + 1} loss {total:.4f}", flush=True)
            curve.append({"step": step + 1, "loss": total})
            total = 0.0
    return model.eval(), curve


def embed(encoder: TextEncoder, texts: Sequence[str], max_tokens: int = 128) -> np.ndarray:
    """Mean token vectors `[N, D]` of `texts`."""
    batches = [texts[start : start + 64] for start in range(0, len(texts), 64)]
    return np.stack([states.mean(axis=0) for batch in batches for states in encoder.encode(batch, max_tokens)])


def probes(encoder: TextEncoder, plain: Corpus, other: Corpus) -> dict[str, float]:
    """Accuracy on paraphrases of `other`'s pieces of linear probes fitted to the plain captions of `plain`.

    Plain captions use no circumlocution, paraphrases name neither the genre nor the tempo class.
    """
    rows = [(piece, text) for piece, texts in zip(plain.pieces, plain.captions, strict=True) for text in texts]
    rows = [row for row in rows if probe.is_plain(row[1])]
    known = embed(encoder, [text for _, text in rows])
    asked = embed(encoder, [synthetic.paraphrase(piece, number) for number, piece in enumerate(other.pieces)])
    scores: dict[str, float] = {"probe_fitted_on": float(len(rows)), "probe_tested_on": float(len(other.pieces))}
    for name in ("genre", "tempo_class"):
        labels = [getattr(piece, name) for piece, _ in rows]
        truth = [getattr(piece, name) for piece in other.pieces]
        scores[name] = probe.accuracy(known, labels, asked, truth)
    return scores


def evaluate(params: dict[str, Any], encoder: TextEncoder, untrained: TextEncoder) -> dict[str, float]:
    """The probes' scores of the trained encoder and of the same encoder with random weights."""
    first = params["first_seed"] + params["compositions"]
    plain = compose(first, params["probe_fit"], 1)
    other = compose(first + params["probe_fit"], params["probe_test"], 1)
    scores = probes(encoder, plain, other)
    scores |= {f"untrained_{name}": probes(untrained, plain, other)[name] for name in ("genre", "tempo_class")}
    lengths = encoder.num_tokens(plain.texts)
    states = np.concatenate(encoder.encode(plain.texts[:200], 128))
    return scores | {
        "tokens_mean": float(np.mean(lengths)),
        "tokens_max": float(max(lengths)),
        "token_rms": float(np.sqrt(np.mean(states**2))),
        "token_deviation": float(states.std(axis=0).mean()),
    }


CARD = """# The embedded text encoder

A T5 encoder (transformers' `T5EncoderModel`, {parameters:,} parameters, fp16) with a tokenizer of its own ({pieces} pieces, bytes
among them), trained from scratch by `python -m pretraining.text` on captions that the project writes itself: seeds
{first} to {last}, {captions} captions each, {steps} steps of {batch}, {seconds:.0f} s on one CPU thread. From the mean of its
token vectors it learned to tell what the composer knows (genre, tempo, mood, key, instruments, rain). It knows the words of
that corpus; other words are spelled in pieces that mean little to it.

Linear probes (ridge regression on mean token vectors) fitted to {fitted:.0f} plain captions, tested on {tested:.0f} paraphrases of
other pieces that name neither genre nor tempo class. The paraphrases' phrases occur in training, their combinations do not.

| accuracy | trained | untrained |
|---|---|---|
| genre of 16 | {genre:.3f} | {untrained_genre:.3f} |
| tempo class of 3 | {tempo_class:.3f} | {untrained_tempo_class:.3f} |

A caption has {tokens_mean:.0f} tokens in the mean, at most {tokens_max:.0f}; the root mean square of the vectors is {token_rms:.2f}.

- sha256 of model.safetensors: `{digest}`
- Code commit: unknown
- Licence: that of the project.
"""


def card(params: dict[str, Any], scores: dict[str, float], directory: Path, parameters: int, pieces: int) -> str:
    first = params["first_seed"]
    named = {
        "first": first, "last": first + params["compositions"] - 1, "captions": params["captions"],
        "steps": params["steps"], "batch": params["batch_size"], "fitted": scores["probe_fitted_on"],
        "tested": scores["probe_tested_on"], "digest": shipping.digest(directory), "parameters": parameters, "pieces": pieces,
    }  # fmt: skip
    return CARD.format(**named, **scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=HERE / "params.yaml")
    parser.add_argument("--out", type=Path, default=MODEL)
    parser.add_argument("--metrics", type=Path, default=HERE / "metrics" / "text.json")
    arguments = parser.parse_args()
    params = yaml.safe_load(arguments.params.read_text(encoding="utf-8"))["text"]
    torch.set_num_threads(1)
    corpus = compose(params["first_seed"], params["compositions"], params["captions"])
    pieces = tokenizer.train(corpus.texts, params["pieces"], begin=False)
    start = time.perf_counter()
    model, _ = train(params, corpus, pieces)
    seconds = time.perf_counter() - start
    untrained = T5TextEncoder(build(params, len(pieces)).eval(), pieces)
    scores = evaluate(params, T5TextEncoder(model, pieces), untrained) | {"seconds": seconds}
    print(scores)
    parameters = sum(weight.numel() for weight in model.parameters())
    shipping.export(arguments.out, model, pieces)
    (arguments.out / "README.md").write_text(
        card(params, scores, arguments.out, parameters, len(pieces)), encoding="utf-8"
    )
    write_json(arguments.metrics, {**scores, "steps": params["steps"]})


if __name__ == "__main__":
    main()
