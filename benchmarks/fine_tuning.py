"""What a shipped model is worth on a folder of recordings: tuned on them, beside a training from random weights.

`python -m benchmarks.fine_tuning FOLDER --skip PATTERN ...` divides the tracks of a folder with a metadata table into folds.
For each, both trainings take the same steps on the same clips of the other folds; their NLL on the tracks left out is
compared track by track. The interval is that of Student's t over the tracks, which are few. `--listen N` then generates for the
captions of N clips left out last, before and after the tuning, with guidance 1 and 3: is it music still, and as loud?
"""

import argparse
import fnmatch
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import yaml
from scipy import stats

import musicgen_lite
from musicgen_lite import codec, text
from musicgen_lite.clap import load as load_clap
from musicgen_lite.generation import Sampling
from musicgen_lite.initial import Initial
from musicgen_lite.io.arrays import ArrayWriter
from musicgen_lite.io.clips import Clip
from musicgen_lite.io.hashing import file_sha256
from musicgen_lite.models import load
from musicgen_lite.params import Params, parse
from musicgen_lite.pretrained import shipped
from musicgen_lite.rhythm import Onsets
from musicgen_lite.sources import folder
from musicgen_lite.text.variants import digest
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.dataset import SampleRef
from musicgen_lite.training.fit import TrainingPaths, fit
from musicgen_lite.training.setup import set_up

ROOT = Path(__file__).parent.parent
SECONDS, PROMPT_S, RATE, MAX_TOKENS = 8.0, 3.0, 16000, 64
TARGETS = ["attention.qkv", "attention.out", "up", "down"]
SIZE = ("d_model", "layers", "heads")  # those of the shipped models


def clips_by_track(place: Path, skip: Sequence[str]) -> dict[str, list[Clip]]:
    """The clips of each file of the folder but those whose names match a pattern."""
    found = defaultdict(list)
    for clip in folder.clips(place, RATE, SECONDS, 0.1, 0.1, lambda where, why: print(f"rejected: {where}: {why}")):
        name = str(clip.extra["file"])
        if not any(fnmatch.fnmatch(name, pattern) for pattern in skip):
            found[name].append(clip)
    return dict(found)


def write(tracks: dict[str, list[Clip]], held_out: Sequence[str], place: Path) -> Corpus:
    """Tokens, beats and embeddings of all clips; those of the tracks `held_out` are the validation split."""
    coder, encoder = codec.load("embedded", num_codebooks=4), text.load("embedded")
    stores = {name: ArrayWriter(place / "tokens" / name, "uint16") for name in ("prompt", "target")}
    captions = ArrayWriter(place / "text", "float16")
    cut = round(PROMPT_S * RATE)
    for name, clips in tracks.items():
        for clip in clips:
            wave = torch.from_numpy(clip.samples)[None]
            beat = Onsets.of(clip.samples[cut:], RATE).clear_beat(None)
            for kind, part in (("prompt", wave[:, :cut]), ("target", wave[:, cut:])):
                facts = beat._asdict() if kind == "target" else {}
                grid = coder.encode(part)[0].numpy().T.astype(np.uint16)
                split = "validation" if name in held_out else "train"
                stores[kind].add(clip.id, grid, split=split, track_id=name, **facts)
            captions.add(clip.id, encoder.encode([clip.caption], MAX_TOKENS)[0], digest=digest(clip.caption))
    for store in stores.values():
        store.close(codec.describe(coder))
    about = {"name": encoder.name, "fingerprint": encoder.fingerprint, "dim": encoder.dim, "max_tokens": MAX_TOKENS}
    captions.close({**about, "variants": {"caption": [""]}})
    return Corpus(place / "tokens", place / "text")


def parameters(kind: str, steps: int, batch: int, learning_rate: float, rank: int = 0) -> Params:
    """Those of the repository, with the size of the shipped models; `rank`: of LoRA on all matrices of attention and MLP."""
    tree = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    tree["model"]["type"] = kind
    config = load(shipped.model_file(kind))[0].config
    tree["model"][kind] |= {name: getattr(config, name) for name in SIZE}
    tree["train"] |= {
        "steps": steps, "effective_batch_size": batch, "batch_size": batch, "learning_rate": learning_rate,
        "validations": 1, "preview_every": 0, "init": "shipped" if rank else "",
    }  # fmt: skip
    tree["train"]["lora"] |= {"rank": rank, "alpha": 2.0 * rank or 1.0, "targets": TARGETS}
    return parse(tree)


def trained(params: Params, corpus: Corpus, place: Path, initial: Initial | None) -> dict[str, float]:
    """Train, and the NLL in nats per token of each held-out track, given the captions and the beats."""
    paths = TrainingPaths(place, place / "model.safetensors", place / "curves.json", place / "timings.json")
    fit(params, corpus, paths, initial=initial)
    model, setup = load(paths.model)[0].eval(), set_up(params, corpus)
    track_of = dict(zip(corpus.targets.index["key"], corpus.targets.index["track_id"], strict=True))
    nll = defaultdict(list)
    for clip in setup.validation_clips:
        batch = setup.dataset.batch([SampleRef(clip)])
        with torch.no_grad():
            nll[track_of[clip]].append(float(model.nll(batch.codes, batch.conditions.without_prompt()).mean()))
    return {track: float(np.mean(values)) for track, values in nll.items()}


def listen(tuned: Path, kind: str, captions: Sequence[str]) -> None:
    """Print CLAP with the captions and the level of what both models generate, and CLAP of noise with the same captions."""
    noise = np.random.default_rng(0).normal(0.0, 0.1, RATE * 5).astype(np.float32)
    judge = load_clap("embedded")
    floor = float(judge.similarity(captions, RATE, [noise] * len(captions), list(range(len(captions)))).mean())
    print(f"CLAP of white noise with {len(captions)} captions of clips left out: {floor:.3f}")
    for guidance in (1.0, 3.0):
        for name, path in (("shipped", f"shipped-{kind}"), ("tuned", str(tuned))):
            generator = musicgen_lite.load(path)
            sampling = Sampling(guidance=guidance)
            made = [generator.generate(one, seconds=5, candidates=1, sampling=sampling) for one in captions]
            clap = np.mean([music.scores[0] for music in made])
            level = 10 * np.log10(np.mean([np.mean(music.samples**2) for music in made]))
            print(
                f"guidance {guidance:g}, {name}: CLAP {clap:.3f}, {clap - floor:+.3f} over noise; level {level:.1f} dB"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--skip", nargs="*", default=[], help="patterns of file names to leave out")
    parser.add_argument("--type", choices=("a", "b"), default="a")
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=3e-4, help="of the tuning; random weights take 1e-3")
    parser.add_argument("--lora", type=int, default=0, metavar="RANK", help="tune by LoRA; 0 tunes all weights")
    parser.add_argument("--listen", type=int, default=0, help="captions to generate for, after the last fold")
    parser.add_argument("--only-listen", action="store_true", help="the last fold's tuning alone, without comparing")
    given = parser.parse_args()
    tracks = clips_by_track(given.folder, given.skip)
    names = sorted(tracks)
    print(f"{len(names)} tracks, {sum(map(len, tracks.values()))} clips of {SECONDS:g} s", flush=True)
    model = shipped.model_file(given.type)
    initial = Initial("shipped", model, file_sha256(model))
    rows: dict[str, list[float]] = defaultdict(list)
    for fold in range(given.folds - 1 if given.only_listen else 0, given.folds):
        with tempfile.TemporaryDirectory() as place:
            corpus = write(tracks, names[fold :: given.folds], Path(place))
            tuning = ("tuned", initial, given.learning_rate, given.lora)
            trainings = [tuning] if given.only_listen else [tuning, ("scratch", None, 1e-3, 0)]
            for name, start, rate, rank in trainings:
                params = parameters(given.type, given.steps, given.batch, rate, rank)
                for track, nll in trained(params, corpus, Path(place) / name, start).items():
                    rows[track].append(nll)
            if given.listen and fold == given.folds - 1:
                left_out = [clip.caption for name in names[fold :: given.folds] for clip in tracks[name]]
                listen(Path(place) / "tuned" / "model.safetensors", given.type, left_out[: given.listen])
    if given.only_listen:
        return
    for track in names:
        print(f"{track[:50]:50} tuned {rows[track][0]:.3f}, from random weights {rows[track][1]:.3f}")
    gains = np.array([scratch - tuned for tuned, scratch in rows.values()])
    half = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains))
    print(
        f"gain {gains.mean():.3f} ({gains.mean() - half:.3f} to {gains.mean() + half:.3f}) nats per token, {len(gains)} tracks"
    )


if __name__ == "__main__":
    main()
