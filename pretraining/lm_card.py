"""The cards of the shipped language models: `python -m pretraining.lm_card a` after the pipeline has scored the model.

That is a run of `params.yaml` with `model.type=a`, `train.init=shipped`, `train.steps=0` and the shipped model's size; its
scores lie in `data/scores`. Figures go into `src/musicgen_lite/weights/models/a.md`.
"""

import argparse
from pathlib import Path
from typing import Any

import pretraining  # noqa: F401  (puts this tree's src first)
from musicgen_lite import models
from musicgen_lite.io.files import read_json, write_text
from musicgen_lite.io.hashing import SHORT, file_sha256
from musicgen_lite.pretrained import shipped
from musicgen_lite.report.results import ScoreFolders
from pretraining.lm import RECORDS

SCORES = Path(__file__).parent.parent / "data" / "scores"
CARD = """# The shipped model {upper}

{about}
{parameters:.2f} M parameters, {megabytes:.1f} MB in fp16: d {d_model}, {layers} layers, {heads} heads, {pattern} pattern, rotary positions, a
pointer head and a beat condition (docs/architecture.md). It reads captions through the shipped text encoder (fingerprint
`{text}`) and makes codes of the shipped codec (`{codec}`), {seconds:g} s at a time; longer music slides that window.

- Training data: composed and rendered by the project itself (`musicgen_lite.sources.synthetic`), from seeds; nothing recorded, nobody's
  music. {clips} clips of 13 s in {rounds}: {seeds}
- Training: {steps} of 10 s, {hours}; `python -m pretraining.lm {kind} ROUND`
- Licence: that of the project
- sha256: `{digest}`
- Code commit: unknown

On held-out clips (test split of the default `params.yaml`, seeds below 10,000,000; best of 4 candidates by CLAP; 95 % intervals; n is the
number of clips or prompts). Command: `dvc exp run -S model.type={kind}
-S train.init=shipped -S train.steps=0 -S model.{kind}.d_model={d_model} -S model.{kind}.layers={layers} -S model.{kind}.heads={heads}`.

| figure | this model | real clips | through the codec |
|---|---|---|---|
{figures}

What it cannot do: sing, speak, play recorded instruments or follow words that its captions never have (see `describe` in the composer). The
codec smears what lies above 2 kHz. Made for teaching and for comparing methods, not for release.
"""
ABOUT = {
    "a": "A prefix language model: caption embeddings stand before the codes (`models/a.py`).",
    "b": "Cross-attention over the caption and 3 s of an audio prompt, which sets the style (`models/b.py`).",
}
# Label, and the estimates of the model, of real clips and of those through the codec.
FIGURES = (
    ("NLL, nats per token (with the caption)", "nll_caption", "", ""),
    ("NLL under the bigram, nats", "nll_bigram_gain", "", ""),
    ("NLL gain of the matching over another caption", "nll_caption_gain", "", ""),
    ("NLL gain of the matching over another audio prompt", "nll_prompt_gain", "", ""),
    ("CLAP", "clap", "clap_real", "clap_reconstruction"),
    ("FAD in codec latents", "codec_fad_generated", "codec_fad_real", "codec_fad_reconstruction"),
    ("pulse", "pulse", "pulse_real", "pulse_reconstruction"),
    ("stated tempo kept within 5 %", "tempo", "tempo_real", "tempo_reconstruction"),
    ("the same, octaves allowed", "tempo_octaves", "tempo_octaves_real", "tempo_octaves_reconstruction"),
    ("stated key kept", "key", "key_real", "key_reconstruction"),
)


def shown(estimate: dict[str, Any] | None) -> str:
    """An estimate with its interval and n; empty where there is none."""
    if not estimate:
        return ""
    interval = f" ({estimate['low']:.3g} to {estimate['high']:.3g}, n {estimate['n']})" if "low" in estimate else ""
    return f"{estimate['value']:.3g}{interval}"


def figures(estimates: dict[str, Any]) -> str:
    """The rows of the table; figures that were not measured, such as an audio prompt's of model A, have none."""
    rows = (
        (label, *(shown(estimates.get(name)) for name in names)) for label, *names in FIGURES if names[0] in estimates
    )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def card(kind: str, model: Path, record: Path, scores: Path) -> str:
    """The text of a model's card."""
    config, rounds = models.load(model)[0].config, read_json(record)
    nll, audio = ScoreFolders(scores / "nll", scores / "reference", scores / "audio").details()
    digest = file_sha256(model)
    initial = read_json(scores.parent / "run" / "run.json")["training"].get("initial", "none")
    if digest[:SHORT] not in initial:
        raise SystemExit(f"{scores}: the scored model started from {initial}, not from {model} ({digest[:SHORT]})")
    first_to_last = [f"{first} to {last}" for first, last in (one["seeds"] for one in rounds)]
    return CARD.format(
        upper=kind.upper(), kind=kind, about=ABOUT[kind], parameters=rounds[-1]["parameters"] / 1e6,
        megabytes=model.stat().st_size / 1e6, seconds=config.max_frames / config.frame_rate, digest=digest,
        clips=sum(last - first + 1 for first, last in (one["seeds"] for one in rounds)),
        rounds=f"{len(rounds)} round{'s' if len(rounds) > 1 else ''}", seeds=", ".join(first_to_last),
        steps=" and ".join(f"{one['steps']} steps of {one['effective_batch_size']} clips" for one in rounds),
        hours=" and ".join(f"{one['hours']:.2g} h on {one.get('device', 'CPU')}" for one in rounds),
        figures=figures({**nll["estimates"], **audio["estimates"]}),
        **{key: getattr(config, key) for key in ("d_model", "layers", "heads", "pattern", "text", "codec")},
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("type", choices=("a", "b"))
    parser.add_argument("--scores", type=Path, default=SCORES)
    arguments = parser.parse_args()
    model = shipped.model_file(arguments.type)
    text = card(arguments.type, model, RECORDS / f"{arguments.type}.json", arguments.scores)
    write_text(model.with_suffix(".md"), text)


if __name__ == "__main__":
    main()
