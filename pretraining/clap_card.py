"""The model card of a shipped CLAP."""

from pathlib import Path
from typing import Any

from pretraining import shipping

CARD = """# The embedded CLAP: {name}

transformers' `ClapModel` without fusion ({megabytes:.1f} MB in fp16), with a tokenizer and the feature extractor it was trained
with: {rate} Hz mono, windows of {window_s} s, {mels} mel bands from {frequency_min} to {frequency_max} Hz, hop {hop}. {role}

Trained from scratch by `python -m pretraining.clap {name}` on {clips} clips of {seconds_each:g} s that the project composes and
renders (seeds {first} to {last}), {captions} captions each, {steps} steps of {batch}, {seconds:.0f} s on one CPU thread, training
seed {seed}. {share:.0%} of the audio went through the project's codec (fingerprint `{codec}`). It knows that corpus and its
words: its scores compare audio made here, not with CLAP scores published elsewhere.

On {pairs:.0f} held-out pairs (seeds {held_first} to {held_last}, seconds {from_s:g} to {seconds_each:g} of each clip):

| | as it is | through the codec |
|---|---|---|
| R@1, R@10 of the caption for a clip | {clean_audio_to_text_r1:.2f}, {clean_audio_to_text_r10:.2f} | {codec_audio_to_text_r1:.2f}, {codec_audio_to_text_r10:.2f} |
| R@1, R@10 of the clip for a caption | {clean_text_to_audio_r1:.2f}, {clean_text_to_audio_r10:.2f} | {codec_text_to_audio_r1:.2f}, {codec_text_to_audio_r10:.2f} |
| cosine, matched | {clean_matched:.3f} | {codec_matched:.3f} |
| cosine, mismatched | {clean_mismatched:.3f} | {codec_mismatched:.3f} |

Chance is 0.01 and 0.10 for 100 pairs. White noise has a mean cosine of {noise:.3f}.

- sha256 of model.safetensors: `{digest}`
- Code commit: unknown
- Licence: that of the project.
"""
ROLES = {
    "clap": "It scores, and picks among candidates.",
    "clap_judge": "It never picks: it judges what the other one picked, from other clips and another start.",
}


def write(name: str, params: dict[str, Any], scores: dict[str, float], codec: str, directory: Path) -> None:
    """Write README.md beside the weights in `directory`."""
    size = (directory / "model.safetensors").stat().st_size
    first, held_first = params["first_seed"], params["first_seed"] + params["clips"]
    text = CARD.format(
        name=name, role=ROLES[name], megabytes=size / 1e6, digest=shipping.digest(directory),
        codec=codec, first=first, last=held_first - 1, held_first=held_first,
        held_last=held_first + params["held_out"] - 1, seconds_each=params["seconds"],
        from_s=params["seconds"] - params["window_s"], batch=params["batch_size"], share=params["codec_share"],
        **{key: params[key] for key in (
            "rate", "window_s", "mels", "frequency_min", "frequency_max", "hop", "clips", "captions", "steps", "seed",
        )},
        **scores,
    )  # fmt: skip
    (directory / "README.md").write_text(text, encoding="utf-8")
