"""The listening page: one HTML file with every score, curve, picture and sound of a run inside it.

It opens from disk or from an artifact store without a network, in light and dark, and on a phone.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from musicgen_lite.io import audio
from musicgen_lite.report import plots

HERE = Path(__file__).parent
# Test prompts on a page beside the fixed ones. With five sounds of 5 s at 16 kHz each, a page has about 10 MB.
PROMPTS = 12
# The kinds of sounds that a prompt has, by what a page calls them.
SOUNDS = {
    "generated": "generated", "real": "real clip", "codec": "real clip through the codec", "prompt": "audio prompt",
    "prompted": "generated with the audio prompt",
}  # fmt: skip


def number(value: float) -> str:
    """A number as people read it: 3 decimals around 1, fewer for large values, a true minus sign."""
    size = abs(value)
    decimals = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3 if size >= 0.01 or size == 0 else 5
    return f"{value:.{decimals}f}".replace("-", "−")


@dataclass(frozen=True)
class Score:
    """A value with its 95 % interval and the number of clips behind it, where known."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None

    @classmethod
    def of(cls, estimate: Mapping[str, Any]) -> "Score":
        """An estimate as the details of a stage hold it."""
        return cls(estimate["value"], estimate.get("low"), estimate.get("high"), estimate.get("n"))

    @property
    def text(self) -> str:
        return number(self.value)

    @property
    def interval(self) -> str:
        """`low to high`, empty where there is no interval."""
        return "" if self.low is None or self.high is None else f"{number(self.low)} to {number(self.high)}"


@dataclass(frozen=True)
class ScoreRow:
    """One score across the columns of its table; None where it was not measured."""

    name: str
    scores: tuple[Score | None, ...]
    better: Literal["higher", "lower", ""] = ""

    @property
    def counts(self) -> str:
        """The numbers of clips in this row, each once."""
        return ", ".join(
            str(n) for n in dict.fromkeys(score.n for score in self.scores if score and score.n is not None)
        )


@dataclass(frozen=True)
class ScoreTable:
    """Scores by column: first those of the run, then the baselines. ValueError for a ragged row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[ScoreRow, ...]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.scores) != len(self.columns):
                raise ValueError(f"{self.title}, {row.name}: {len(row.scores)} scores for {len(self.columns)} columns")


@dataclass(frozen=True)
class Chart:
    """A chart as PNG bytes for a light and a dark page; `alt` says in words what it shows."""

    title: str
    alt: str
    light: bytes
    dark: bytes


@dataclass(frozen=True)
class Sound:
    """A named clip: FLAC bytes, their spectrogram as PNG bytes, and the scores of the candidates it was picked from."""

    name: str
    flac: bytes
    picture: bytes
    seconds: float
    axis_seconds: float  # length of the picture's time axis
    note: str = ""
    main: bool = False
    candidates: tuple[float, ...] = ()
    picked: int = 0  # index into `candidates`
    ranked_by: str = "CLAP"  # what scored the candidates


@dataclass(frozen=True)
class Entry:
    """One prompt with its sounds, in the order in which they are shown."""

    id: str
    caption: str
    sounds: tuple[Sound, ...]
    fixed: bool = False


@dataclass(frozen=True)
class PageData:
    """Everything that a page shows. `prompts` counts the test prompts behind the scores, shown or not."""

    title: str
    model: str
    facts: tuple[tuple[str, str], ...]
    tables: tuple[ScoreTable, ...]
    charts: tuple[Chart, ...]
    entries: tuple[Entry, ...]
    prompts: int
    headline: tuple[ScoreRow, ...] = ()  # of one score each


def chart(title: str, alt: str, draw: Callable[[plots.Theme], bytes]) -> Chart:
    """A chart drawn for both themes."""
    return Chart(title, alt, draw("light"), draw("dark"))


def sound(
    name: str,
    flac: bytes,
    axis_seconds: float | None = None,
    top_hz: float | None = None,
    note: str = "",
    main: bool = False,
    candidates: tuple[float, ...] = (),
    picked: int = 0,
    ranked_by: str = "CLAP",
) -> Sound:
    """A sound with its spectrogram, from FLAC bytes. Equal `axis_seconds` and `top_hz` make pictures comparable.

    UserError where the bytes are not audio; ValueError where they are not FLAC, or empty.
    """
    if not flac.startswith(b"fLaC"):
        raise ValueError(f"{name}: the page plays FLAC, found bytes that start with {flac[:4]!r}")
    samples, rate = audio.decode(flac, name=name)
    seconds = len(samples) / rate
    axis = axis_seconds or seconds
    picture = plots.spectrogram(samples, rate, axis, top_hz)
    return Sound(name, flac, picture, seconds, axis, note, main, candidates, picked, ranked_by)


def _data_uri(kind: str) -> Callable[[bytes], Markup]:
    return lambda data: Markup(f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}")


@lru_cache(maxsize=1)
def environment() -> Environment:
    """What templates are read and filled with: everything is escaped, bytes become data URIs."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        number=number, png=_data_uri("image/png"), flac=_data_uri("audio/flac"), mp3=_data_uri("audio/mpeg")
    )
    return environment


def render(template: str, css: Sequence[str], js: Sequence[str], **content: Any) -> str:
    """A page from its template, with the files named by `css` and `js` inside, and where a spectrogram's axes lie."""

    def joined(names: Sequence[str]) -> Markup:
        return Markup("".join((HERE / name).read_text(encoding="utf-8") for name in names))

    return (
        environment()
        .get_template(template)
        .render(
            css=joined(css),
            js=joined(js),
            width=plots.WIDTH,
            height=plots.HEIGHT,
            left=plots.LEFT / plots.WIDTH,
            right=plots.RIGHT / plots.WIDTH,
            **content,
        )
    )


def listening_page(page: PageData, limit: int = PROMPTS) -> str:
    """The whole page as HTML: the fixed prompts, headline, tables, curves, then at most `limit` test prompts in the order given.

    Without fixed prompts the test prompts come first. All text is escaped; nothing in the page refers to the network.
    """
    fixed = [entry for entry in page.entries if entry.fixed]
    others = [entry for entry in page.entries if not entry.fixed][:limit]
    shown = f"{len(others)} of the {page.prompts} test prompts, in stored order, none chosen by ear."
    return render(
        "page.html", ["page.css"], ["page.js"], page=page, first=fixed or others, more=others if fixed else [],
        heading=f"The {len(fixed)} fixed prompts." if fixed else shown, more_heading=shown,
        floor=f"−{-plots.FLOOR_DB:g}", ceiling=f"−{-plots.CEILING_DB:g}",
    )  # fmt: skip
