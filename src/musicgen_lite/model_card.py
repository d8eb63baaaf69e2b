"""The card of an exported model, a README.md as the Hugging Face hub reads one: what it is, how good, of what, for what."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from musicgen_lite import __version__
from musicgen_lite.model_facts import COMPOSED, EMBEDDED, OWN_LICENCE, ModelFacts

KINDS = {
    "a": "a decoder that reads the caption's embeddings as a prefix",
    "b": "self- and cross-attention over the caption and an audio prompt that sets the style",
    "musicgen": "MusicGen's own decoder, which reads the caption by cross-attention",
}
SOURCES = {
    COMPOSED: "Composed and rendered by MusicGen-Lite itself, from seeds; nothing recorded, nobody's music.",
    "folder": "Captioned audio of whoever trained it; ask them what it is.",
    "musiccaps": "MusicCaps: captions by musicians (CC BY-SA 4.0) for 10 s clips of YouTube's music.",
    "jamendo": "MTG-Jamendo: tracks by independent artists under Creative Commons licences, which differ by track.",
    "hub": "A captioned data set that the datasets library reads; ask whoever trained it which.",
    "": "Not noted in the model's file.",
}
ROW = re.compile(r"^\| ([^|]+) \|([^|]*)\|([^|]*)\|([^|]*)\|$", re.MULTILINE)
ESTIMATE = re.compile(r"(\S+) \((\S+) to (\S+), n (\d+)\)")
DATASETS = {
    COMPOSED: "music composed by MusicGen-Lite",
    "folder": "a folder of clips",
    "musiccaps": "MusicCaps",
    "jamendo": "MTG-Jamendo",
}
TEXT = """# {name}

Text to music: {kind} ({parameters}{d_model} wide, {layers} layers, {pattern} pattern), for
MusicGen-Lite {version}. It makes {rate:g} kHz mono, {window:g} s at a time; longer music slides that window.

```
musicgen-lite generate "A fast techno beat with a synth lead." --model FOLDER-OR-NAME -o techno.wav
```

```python
import musicgen_lite

musicgen_lite.load("FOLDER-OR-NAME").generate("A fast techno beat with a synth lead.").write("techno.wav")
```

Codec: {codec_name} (fingerprint `{codec}`). Text encoder: {text_name} (`{text}`). The model refuses others.{local}

## Metrics

{metrics}

## Intended use

For teaching, for comparing methods, and as a start for training on. Not for release without listening: it follows the kinds of
music and the words of its captions, and cannot sing or speak.

## Training data

{source} {corpus}{initial}

## Licence

{licence}

sha256 of the model's file, as training wrote it: `{sha256}`
"""


Estimate = Mapping[str, Any]  # value and, where there is an interval, low, high and n


@dataclass(frozen=True)
class Measured:
    """A metric of a model, with the estimates of the model, of real clips and of those through the codec."""

    key: str
    label: str
    own: Estimate
    real: Estimate | None = None
    codec: Estimate | None = None


@dataclass(frozen=True)
class Origin:
    """Where a model comes from, as far as it is known: its name, `data.source`, number of parameters, metrics, and their run.

    licence: what the exporter says, before what the project can tell.
    """

    name: str
    source: str = ""
    parameters: int = 0
    metrics: tuple[Measured, ...] = ()
    run: str = ""
    licence: str = ""


def measured(estimates: Mapping[str, Estimate]) -> tuple[Measured, ...]:
    """The headline metrics among the estimates of a run's scores."""
    from musicgen_lite.scoring.metrics import GROUPS

    own = [metric for name, group in GROUPS.items() if name != "Reference metrics" for metric in group]
    return tuple(
        Measured(
            one.key,
            one.label,
            estimates[one.estimate],
            *(estimates.get(one.on_set.format(group)) for group in ("real", "reconstruction")),
        )
        for one in own
        if one.headline and one.estimate in estimates
    )


def of_shipped(name: str, card: str) -> Origin:
    """What the card of a shipped model says."""
    metrics = []
    for label, *cells in ROW.findall(card):
        own, real, codec = map(_read, cells)
        if own:
            metrics.append(Measured(re.sub(r"\W+", "_", label.lower()), label, own, real, codec))
    parameters = re.search(r"([\d.]+) M parameters", card)
    return Origin(
        name,
        source=COMPOSED,
        parameters=round(float(parameters[1]) * 1e6) if parameters else 0,
        metrics=tuple(metrics),
        run="of the repository's pipeline, with train.init: shipped and train.steps: 0",
    )


def _read(cell: str) -> Estimate | None:
    """An estimate as `_shown` writes it."""
    found = ESTIMATE.fullmatch(cell.strip())
    if not found:
        return None
    value, low, high = map(float, found.groups()[:3])
    return {"value": value, "low": low, "high": high, "n": int(found[4])}


def model_card(facts: ModelFacts, origin: Origin) -> str:
    """The card with its YAML header."""
    return f"---\n{_header(facts, origin)}\n---\n\n{_text(facts, origin)}"


def licence_id(facts: ModelFacts, origin: Origin) -> str:
    """The licence as the hub writes it."""
    known = facts.licence(origin.source)
    return origin.licence or (known.lower() if known == OWN_LICENCE else "unknown")


def _header(facts: ModelFacts, origin: Origin) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    dataset = DATASETS.get(origin.source, "held-out clips")
    results = [
        EvalResult(
            task_type="text-to-audio", dataset_type=origin.source or "held-out", dataset_name=dataset,
            metric_type=one.key, metric_name=one.label, metric_value=one.own["value"],
            metric_args={"ci95": [one.own["low"], one.own["high"]], "n": one.own["n"]} if "low" in one.own else None,
        )
        for one in origin.metrics
    ]  # fmt: skip
    data = ModelCardData(
        language="en",
        license=licence_id(facts, origin),
        library_name="musicgen-lite",
        pipeline_tag="text-to-audio",
        tags=["music", "text-to-music", f"musicgen-lite-{facts.config['type']}"],
        model_name=origin.name if results else None,
        eval_results=results or None,
    )
    return str(data.to_yaml())


def _text(facts: ModelFacts, origin: Origin) -> str:
    config, initial = facts.config, facts.extra.get("initial", "")
    local = {name for name in facts.names.values() if name != EMBEDDED and name.startswith(("/", ".", "~"))}
    return TEXT.format(
        name=origin.name,
        kind=KINDS[config["type"]],
        parameters=f"{origin.parameters / 1e6:.2f} M parameters, " if origin.parameters else "",
        version=__version__,
        window=config["max_frames"] / config["frame_rate"],
        codec_name=facts.names["codec"],
        text_name=facts.names["text"],
        local=f" Directories of the machine that trained it: {', '.join(sorted(local))}." if local else "",
        metrics=_metrics(origin),
        source=SOURCES.get(origin.source, SOURCES[""]),
        corpus=f"Digest of the training clips: `{facts.corpus}`." if facts.corpus else "",
        initial=f" Training started from {initial}." if initial else "",
        licence=origin.licence or facts.licence(origin.source),
        sha256=facts.sha256,
        **{name: config[name] for name in ("d_model", "layers", "pattern", "codec", "text")},
        rate=config["rate"] / 1000,
    )


def _metrics(origin: Origin) -> str:
    if not origin.metrics:
        return "Not known here: the file holds none. Exported by the name of its MLflow run, the card has them."
    rows = [f"| {one.label} | {_shown(one.own)} | {_shown(one.real)} | {_shown(one.codec)} |" for one in origin.metrics]
    head = ["| metric | this model | real clips | through the codec |", "|---|---|---|---|"]
    said = (
        f"On held-out clips of its corpus, with 95 % intervals; n is the number of clips or prompts. Run: {origin.run}."
    )
    return "\n".join([said, "", *head, *rows])


def _shown(estimate: Mapping[str, Any] | None) -> str:
    if not estimate:
        return ""
    interval = f" ({estimate['low']:.3g} to {estimate['high']:.3g}, n {estimate['n']})" if "low" in estimate else ""
    return f"{estimate['value']:.3g}{interval}"
