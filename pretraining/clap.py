"""Train a shipped CLAP: `python -m pretraining.clap clap` (or `clap_judge`), on what `pretraining.clap_features` cached.

Audio and captions of a batch are matched both ways (Radford et al. 2021, arXiv:2103.00020); half of the audio has been
through the codec, so that generated audio, which always has, is judged by what it plays and not by how it was coded.
"""

import copy
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pretraining  # noqa: F401  (puts this tree's src first)
from musicgen_lite import codec
from musicgen_lite.clap.hub import TransformersClap
from musicgen_lite.clap.scorer import MAX_TOKENS, ClapScorer
from musicgen_lite.io.files import write_json
from musicgen_lite.io.progress import track
from musicgen_lite.sources import synthetic
from musicgen_lite.training.schedule import ema_decay, update_ema
from pretraining import attributes, clap_card, corpus, shipping, tokenizer
from pretraining.clap_features import HERE, extractor, parser, read_params, through, waves
from pretraining.schedule import learning_rate

MODELS_DIRECTORY = HERE / "models"
MAX_SCALE = 100.0


@dataclass(frozen=True)
class Clips:
    """Training clips: spectrograms `[2, N, frames, mels]` (clean, coded), captions, genres, and the classifier's targets."""

    mels: np.ndarray
    captions: list[list[str]]
    genres: list[str]
    targets: Tensor


def read(data: Path, name: str, params: dict[str, Any]) -> Clips:
    """The training clips of model `name`, their captions written anew with several seeds each."""
    _, about = corpus.load(data / name)
    seeds = [clip["seed"] for clip in about if not clip["held_out"]]
    pieces = [synthetic.compose(seed, params["seconds"]) for seed in seeds]
    captions = [
        [synthetic.describe(piece, number * 1_000_000_000 + seed)[0] for number in range(params["captions"])]
        for seed, piece in zip(seeds, pieces, strict=True)
    ]
    mels = np.load(data / f"{name}-mels" / "mels.npy", mmap_mode="r")
    return Clips(mels, captions, [piece.genre for piece in pieces], attributes.targets(pieces))


def build(params: dict[str, Any], pieces: int) -> Any:
    """A ClapModel with seeded random weights for a tokenizer of `pieces`."""
    from transformers import ClapConfig, ClapModel

    stages = len(params["depths"])
    text = {
        "vocab_size": pieces, "hidden_size": params["text_size"], "num_hidden_layers": params["text_layers"],
        "num_attention_heads": params["text_heads"], "intermediate_size": 2 * params["text_size"],
        "max_position_embeddings": MAX_TOKENS + 1, "pad_token_id": tokenizer.SPECIAL.index(tokenizer.PAD),
        "bos_token_id": tokenizer.SPECIAL.index(tokenizer.BOS), "eos_token_id": tokenizer.SPECIAL.index(tokenizer.EOS),
        "hidden_dropout_prob": params["dropout"], "attention_probs_dropout_prob": params["dropout"],
    }  # fmt: skip
    audio = {
        # Attention windows of 8 do not divide what is left of so small a spectrogram in the last stage.
        "window_size": 4, "num_mel_bins": params["mels"], "spec_size": 2 * params["mels"], "patch_size": 4,
        "patch_stride": [4, 4], "hidden_size": params["channels"] * 2 ** (stages - 1), "depths": params["depths"],
        "num_attention_heads": params["heads"], "patch_embeds_hidden_size": params["channels"],
        "enable_fusion": False, "hidden_dropout_prob": 0.0, "num_hidden_layers": stages,
    }  # fmt: skip
    torch.manual_seed(params["seed"])
    return ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=params["projection"]))


class Sampler:
    """Batches by step number alone: rows of a few genres, a random window, clean or coded, one caption each."""

    def __init__(self, clips: Clips, params: dict[str, Any]) -> None:
        self.clips, self.params = clips, params
        self.frames = round(params["window_s"] * params["rate"]) // params["hop"] + 1
        self.by_genre: dict[str, list[int]] = {}
        for row, genre in enumerate(clips.genres):
            self.by_genre.setdefault(genre, []).append(row)

    def __call__(self, step: int) -> tuple[list[int], Tensor, list[str]]:
        """Rows, spectrograms `[B, 1, frames, mels]`, captions."""
        p = self.params
        rng = random.Random(f"clap {p['seed']} {step}")
        genres = rng.sample(sorted(self.by_genre), min(p["genres_in_batch"], len(self.by_genre)))
        among = [row for genre in genres for row in self.by_genre[genre]]
        rows = rng.sample(among, min(p["batch_size"], len(among)))
        mels = np.empty((len(rows), 1, self.frames, p["mels"]), np.float32)
        for place, row in enumerate(rows):
            start = rng.randrange(self.clips.mels.shape[2] - self.frames + 1)
            kind = int(rng.random() < p["codec_share"])
            mels[place, 0] = self.clips.mels[kind, row, start : start + self.frames]
            mels[place] += rng.uniform(-p["gain_db"], p["gain_db"])
            width = rng.randrange(p["mel_mask"] + 1)
            low = rng.randrange(p["mels"] - width + 1)
            mels[place, 0, :, low : low + width] = mels[place].mean()
        captions = [rng.choice(self.clips.captions[row]) for row in rows]
        return rows, torch.from_numpy(mels), captions


def matching_loss(text: Tensor, audio: Tensor, scale: Tensor) -> Tensor:
    """Cross entropy of finding each caption's audio and each audio's caption among the batch; inputs `[B, D]` of length 1."""
    logits = scale * text @ audio.T
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def train(params: dict[str, Any], clips: Clips, pieces: Any) -> Any:
    """Train on `clips`; the moving average of the model, in evaluation mode."""
    model = build(params, len(pieces))
    average = copy.deepcopy(model).eval()
    audio_size = model.config.audio_config.hidden_size
    heads = nn.ModuleList([nn.Linear(size, attributes.WIDTH) for size in (audio_size, params["text_size"])])
    learned = [*model.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(learned, weight_decay=params["weight_decay"], betas=(0.9, 0.98), fused=True)
    sampler = Sampler(clips, params)
    model.train()
    sums = {"matching": 0.0, "audio": 0.0, "text": 0.0}
    for step in track(range(params["steps"]), "clap", unit="step"):
        torch.manual_seed(params["seed"] * 2**31 + step)
        rows, mels, captions = sampler(step)
        tokens = pieces(captions, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=params["precision"] == "bf16"):
            audio_features = model.audio_model(input_features=mels).pooler_output
            text_features = model.text_model(
                input_ids=tokens.input_ids, attention_mask=tokens.attention_mask
            ).pooler_output
            audio, text = model.audio_projection(audio_features), model.text_projection(text_features)
        scale = model.logit_scale_a.exp().clamp(max=MAX_SCALE)
        parts = {
            "matching": matching_loss(F.normalize(text.float()), F.normalize(audio.float()), scale),
            "audio": attributes.loss(heads[0](audio_features.float()), clips.targets[rows]),
            "text": attributes.loss(heads[1](text_features.float()), clips.targets[rows]),
        }
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, params)
        optimizer.zero_grad()
        (parts["matching"] + params["attribute_weight"] * (parts["audio"] + parts["text"])).backward()
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        update_ema(average, model, ema_decay(step, params["ema_decay"]))
        for name, part in parts.items():
            sums[name] += float(part.detach()) / 50
        if (step + 1) % 50 == 0:
            line = " ".join(f"{name} {value:.4f}" for name, value in sums.items())
            print(f"step {step + 1} {line} scale {float(scale.detach()):.1f}", flush=True)
            sums = dict.fromkeys(sums, 0.0)
    with torch.no_grad():
        average.logit_scale_t.copy_(average.logit_scale_a)
    return average


def retrieval(similarity: np.ndarray) -> dict[str, float]:
    """Ranks of the matches on the diagonal of cosines `[N captions, N clips]`; ties count against it."""
    scores: dict[str, float] = {}
    own = np.diag(similarity)
    for name, axis, mine in (("audio_to_text", 0, own[None, :]), ("text_to_audio", 1, own[:, None])):
        ranks = (similarity >= mine).sum(axis=axis)
        scores |= {f"{name}_r{k}": float(np.mean(ranks <= k)) for k in (1, 10)}
        scores[f"{name}_median_rank"] = float(np.median(ranks))
    others = ~np.eye(len(own), dtype=bool)
    return scores | {"matched": float(own.mean()), "mismatched": float(similarity[others].mean())}


def evaluate(scorer: ClapScorer, data: Path, name: str, params: dict[str, Any], coder: codec.Codec) -> dict[str, float]:
    """Retrieval among the held-out clips' last window, as they are and through the codec, with their own captions."""
    audio, about = corpus.load(data / name)
    held_out = [row for row, clip in enumerate(about) if clip["held_out"]]
    size = round(params["window_s"] * params["rate"])
    clean = waves(audio[held_out])
    text = scorer.embed_text([about[row]["caption"] for row in held_out])
    scores: dict[str, float] = {"pairs": float(len(held_out))}
    for kind, samples in (("clean", clean), ("codec", np.concatenate([through(coder, row[None]) for row in clean]))):
        embedded = scorer.embed_audio([row[-size:] for row in samples])
        scores |= {f"{kind}_{key}": value for key, value in retrieval(text @ embedded.T).items()}
    noise = np.random.default_rng(0).normal(0, 0.1, (16, size)).astype(np.float32)
    return scores | {"noise": float((text @ scorer.embed_audio(list(noise)).T).mean())}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--out", type=Path, default=MODELS_DIRECTORY, help="the directory <name> is made in it")
    options.add_argument("--metrics", type=Path, default=HERE / "metrics")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    params = read_params(arguments.params, arguments.name)
    clips = read(arguments.data, arguments.name, params)
    pieces = tokenizer.train([text for texts in clips.captions for text in texts], params["pieces"], begin=True)
    start = time.perf_counter()
    model = train(params, clips, pieces)
    seconds = time.perf_counter() - start
    scorer = TransformersClap(model, extractor(params), pieces)
    coder = codec.load(arguments.codec, num_codebooks=params["num_codebooks"])
    scores = evaluate(scorer, arguments.data, arguments.name, params, coder)
    print(scores)
    directory = arguments.out / arguments.name
    shipping.export(directory, model, extractor(params), pieces)
    write_json(arguments.metrics / f"{arguments.name}.json", {**scores, "seconds": seconds, "steps": params["steps"]})
    clap_card.write(arguments.name, params, {**scores, "seconds": seconds}, coder.fingerprint, directory)


if __name__ == "__main__":
    main()
