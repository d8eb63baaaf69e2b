"""Pictures as PNG bytes: spectrograms, NLL curves, bars per codebook, scores with their intervals.

Nothing here touches pyplot, the user's matplotlibrc or the clock: equal input gives equal bytes.
"""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import zip_longest
from typing import Any, Literal

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

# The picture of a spectrogram in pixels, and the margins that hold its axis labels.
WIDTH, HEIGHT = 500, 180
LEFT, RIGHT, TOP, BOTTOM = 46, 16, 12, 24
COLUMNS, ROWS = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
# The same colours stand for the same levels in every picture; 0 dB is a sine at full scale.
FLOOR_DB, CEILING_DB = -100.0, -20.0
# The palette of the PNG: colours of the levels, then greys for the labels. 1.25 dB a step keeps the files small.
LEVELS, GREYS = 64, 16
WINDOW_SECONDS = 0.064
TICKS_HZ = (500, 1000, 2000, 4000, 8000, 16000)


def spectrogram(samples: np.ndarray, rate: int, seconds: float | None = None, top_hz: float | None = None) -> bytes:
    """A mel spectrogram of a waveform `[T]`, 500 x 180 px: time in s across, frequency in kHz up, -100 to -20 dB.

    `seconds` sets the length of the time axis and `top_hz` the end of the frequency axis, so that pictures compare;
    they default to the clip's own length and half its rate. Seconds without audio stay black. ValueError where the
    waveform is empty or not finite.
    """
    if samples.ndim != 1 or not samples.size or not np.isfinite(samples).all():
        raise ValueError(f"a spectrogram needs finite samples [T], found shape {samples.shape}")
    seconds, top_hz = seconds or len(samples) / rate, top_hz or rate / 2
    pixels = _axes(seconds, top_hz).copy()
    levels = (_mel_db(samples, rate, seconds, top_hz) - FLOOR_DB) / (CEILING_DB - FLOOR_DB) * (LEVELS - 1)
    pixels[TOP : TOP + ROWS, LEFT : LEFT + COLUMNS] = np.clip(np.rint(levels), 0, LEVELS - 1).astype(np.uint8)
    image = Image.fromarray(pixels, mode="P")
    image.putpalette(_palette())
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def _mel_db(samples: np.ndarray, rate: int, seconds: float, top_hz: float) -> np.ndarray:
    """Mean power of each band around each pixel column in dB, `[ROWS, COLUMNS]`, highest band first."""
    size = 2 ** round(np.log2(WINDOW_SECONDS * rate))
    window = np.hanning(size).astype(np.float32)
    length = round(seconds * rate)
    padded = np.zeros(length + size, np.float32)
    padded[size // 2 : size // 2 + length] = np.pad(samples[:length], (0, max(0, length - len(samples))))
    starts = np.linspace(0, length - 1, COLUMNS).astype(np.int64)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[starts] * window
    # Twice the window's length, so that even the narrowest band holds a bin.
    spectrum = np.fft.rfft(frames, 2 * size) / (window.sum() / 2)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    return 10 * np.log10(_bands(rate, spectrum.shape[1], top_hz) @ power.T.astype(np.float32) + 1e-12)


def _mel(hz: np.ndarray | float) -> np.ndarray:
    """Hz to mel, O'Shaughnessy's formula."""
    return 2595 * np.log10(1 + np.asarray(hz, np.float64) / 700)


@lru_cache(maxsize=8)
def _bands(rate: int, bins: int, top_hz: float) -> np.ndarray:
    """Triangles of equal width in mel, each of sum 1, `[ROWS, bins]`, highest band first."""
    places = _mel(np.linspace(0, rate / 2, bins))
    width = float(_mel(top_hz)) / ROWS
    centres = (np.arange(ROWS)[::-1] + 0.5) * width
    weights = np.maximum(0, 1 - np.abs(places - centres[:, None]) / width)
    return (weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)).astype(np.float32)


@lru_cache(maxsize=8)
def _axes(seconds: float, top_hz: float) -> np.ndarray:
    """The labelled frame of a spectrogram as palette indices `[HEIGHT, WIDTH]`."""
    with _style({"font.size": 8.5, "text.color": "white", "xtick.color": "white", "ytick.color": "white"}):
        figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100, facecolor="black")
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes(
            (LEFT / WIDTH, BOTTOM / HEIGHT, COLUMNS / WIDTH, ROWS / HEIGHT), facecolor="black", frameon=False
        )
        step = next(s for s in (0.5, 1, 2, 5, 10, 20, 60, 600) if seconds / s <= 8)
        times = np.arange(0, seconds + step / 100, step)
        axes.set_xlim(0, seconds)
        axes.set_xticks(times, [f"{time:g}" for time in times[:-1]] + [f"{times[-1]:g} s"])
        ticks = [hz for hz in TICKS_HZ if hz <= top_hz]
        axes.set_ylim(0, float(_mel(top_hz)))
        axes.set_yticks(_mel(np.array(ticks)), [f"{hz / 1000:g}" for hz in ticks[:-1]] + [f"{ticks[-1] / 1000:g} kHz"])
        axes.tick_params(length=2, pad=2)
        canvas.draw()
    grey = np.asarray(canvas.buffer_rgba())[:, :, 0] * 0.75
    return (LEVELS + np.rint(grey / 255 * (GREYS - 1))).astype(np.uint8)


@lru_cache(maxsize=1)
def _palette() -> bytes:
    colours = matplotlib.colormaps["magma"](np.linspace(0, 1, LEVELS))[:, :3]
    greys = np.repeat(np.linspace(0, 1, GREYS)[:, None], 3, axis=1)
    return np.rint(np.concatenate([colours, greys]) * 255).astype(np.uint8).tobytes()


Theme = Literal["light", "dark"]
INK = {"light": "#2b2a28", "dark": "#e6e3df"}
SOFT = {"light": "#d9d5cf", "dark": "#3b3a40"}
ACCENT = {"light": "#c2541b", "dark": "#ff9e64"}
SECOND = {"light": "#2f6f8f", "dark": "#7cc4e8"}
OTHERS = {"light": ("#77726b", "#a8a29a", "#c9c4bc"), "dark": ("#a8a4a0", "#77747a", "#55535a")}
DASHES = ("--", ":", "-.")
LEGEND_LINE = 4  # so many entries fit one line
# One colour per run where runs are compared, distinct in both themes and for colour-blind people.
RUNS = {
    "light": ("#b1470f", "#1f6690", "#4b7a2b", "#7a4a96", "#94700a", "#a8326a"),
    "dark": ("#ff9e64", "#7cc4e8", "#a4d27e", "#c9a3e6", "#e3c35a", "#f391b8"),
}


@contextmanager
def _style(rc: Mapping[str, Any]) -> Iterator[None]:
    with matplotlib.style.context(["default", dict(rc)]):
        yield


@contextmanager
def _chart(theme: Theme, height: float = 2.7) -> Iterator[tuple[Any, io.BytesIO]]:
    """Axes to draw on and the buffer that holds the PNG afterwards; 960 px wide, transparent, without a box."""
    ink, soft = INK[theme], SOFT[theme]
    rc = {
        "font.size": 9, "text.color": ink, "axes.labelcolor": ink, "xtick.color": ink, "ytick.color": ink,
        "axes.edgecolor": soft, "grid.color": soft, "axes.grid": True, "axes.axisbelow": True, "axes.spines.top": False,
        "axes.spines.right": False, "legend.frameon": False, "legend.fontsize": 8.5, "xtick.major.size": 0,
        "ytick.major.size": 0, "grid.linewidth": 0.6,
    }  # fmt: skip
    data = io.BytesIO()
    with _style(rc):
        figure = Figure(figsize=(4.8, height), dpi=200, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure.subplots(), data
        figure.savefig(data, format="png", transparent=True, metadata={"Software": None})


def _legend(axes: Any, handles: Sequence[Line2D] | None = None) -> None:
    """Above the axes, where it hides no data: in one line, or in two, so that it is no wider than the plot."""
    shown = handles or axes.get_legend_handles_labels()[0]
    columns = len(shown) if len(shown) <= LEGEND_LINE else math.ceil(len(shown) / 2)
    axes.legend(
        handles=shown, ncols=columns, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, columnspacing=1.2,
        handlelength=1.5,
    )  # fmt: skip


def _steps(axes: Any) -> None:
    """NLL over optimizer steps, of which there are no fractions."""
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("step")
    axes.set_ylabel("NLL, nats per token")


def words(text: str, theme: Theme) -> bytes:
    """A chart's place with words in it, where there is nothing to draw."""
    with _chart(theme) as (axes, data):
        axes.set_axis_off()
        axes.text(0.5, 0.5, text, ha="center", va="center", wrap=True)
    return data.getvalue()


Series = Sequence[tuple[float, float]]


def nll_curves(train: Series, validation: Series, baselines: Mapping[str, float], theme: Theme = "light") -> bytes:
    """NLL in nats per token by optimizer step, as (step, NLL) pairs, with a level line for each baseline."""
    with _chart(theme) as (axes, data):
        for (name, level), dash, colour in zip(baselines.items(), DASHES * 9, OTHERS[theme] * 9, strict=False):
            axes.axhline(level, color=colour, linestyle=dash, linewidth=1.3, label=f"{name} {level:.2f}")
        for name, series, colour, marker in (
            ("train", train, SECOND[theme], ""),
            ("validation", validation, ACCENT[theme], "o"),
        ):
            if series:
                steps, values = zip(*series, strict=True)
                axes.plot(steps, values, color=colour, marker=marker, markersize=3, linewidth=1.6, label=name)
        _steps(axes)
        _legend(axes)
    return data.getvalue()


def codebook_bars(model: Sequence[float], baselines: Mapping[str, Sequence[float]], theme: Theme = "light") -> bytes:
    """NLL in nats per token of each codebook: the model beside its baselines, each a sequence `[N_q]`."""
    groups = {"model": model, **baselines}
    width = 0.8 / len(groups)
    with _chart(theme) as (axes, data):
        places = np.arange(len(model))
        for number, (name, values) in enumerate(groups.items()):
            colour = ACCENT[theme] if number == 0 else OTHERS[theme][(number - 1) % 3]
            bars = axes.bar(places + (number + 0.5) * width - 0.4, values, width * 0.92, color=colour, label=name)
            if number == 0:
                axes.bar_label(bars, fmt="%.2f", fontsize=7.5, padding=1.5, color=ACCENT[theme])
        axes.set_xticks(places, [f"codebook {number + 1}" for number in places])
        axes.set_ylabel("NLL, nats per token")
        axes.grid(False, axis="x")
        axes.margins(y=0.1)
        _legend(axes)
    return data.getvalue()


def frame_curves(
    edges: Sequence[int], nll: Mapping[str, Mapping[str, Sequence[float]]], theme: Theme = "light"
) -> bytes:
    """NLL in nats per token by range of frames, of the model and of its baselines: `all` codebooks, and codebook 1 as `q1`.

    edges: `[R + 1]`; each sequence has R values, drawn in the middle of their ranges.
    """
    middles = (np.array(edges[:-1]) + edges[1:]) / 2
    colours = (ACCENT[theme], SECOND[theme], *OTHERS[theme])
    styles = {"all": ("all codebooks", "-"), "q1": ("codebook 1", "--")}
    with _chart(theme) as (axes, data):
        for (_, values), colour in zip(nll.items(), colours, strict=False):
            for key, (_, dash) in styles.items():
                axes.plot(middles, values[key], color=colour, linestyle=dash, marker="o", markersize=3, linewidth=1.6)
        axes.set_xlim(0, edges[-1])
        axes.set_xlabel("frame")
        axes.set_ylabel("NLL, nats per token")
        lines = [Line2D([], [], color=colour, label=name) for name, colour in zip(nll, colours, strict=False)]
        dashes = [Line2D([], [], color=INK[theme], linestyle=dash, label=name) for name, dash in styles.values()]
        # A legend fills its columns first: colours in its first line, dashes in the second.
        _legend(axes, [one for pair in zip_longest(lines, dashes) for one in pair if one])
    return data.getvalue()


def run_curves(curves: Sequence[tuple[Series, Series]], baselines: Mapping[str, float], theme: Theme) -> bytes:
    """NLL by step of several runs, each with (train, validation) series: training thin, validation with markers.

    Runs have the colours of `RUNS`; the caller names them, because names may be longer than the plot is wide.
    """
    with _chart(theme, height=2.9) as (axes, data):
        for (name, level), dash in zip(baselines.items(), DASHES * 9, strict=False):
            axes.axhline(level, color=OTHERS[theme][0], linestyle=dash, linewidth=1, label=f"{name} {level:.2f}")
        for (train, validation), colour in zip(curves, RUNS[theme], strict=False):
            if train:
                axes.plot(*zip(*train, strict=True), color=colour, linewidth=0.9, linestyle="--", alpha=0.8)
            if validation:
                axes.plot(*zip(*validation, strict=True), color=colour, marker="o", markersize=3, linewidth=1.6)
        _steps(axes)
        if baselines:
            _legend(axes)
    return data.getvalue()


Interval = tuple[float, float, float]


def run_codebooks(runs: Sequence[Sequence[Interval]], theme: Theme) -> bytes:
    """NLL of each codebook for several runs, each a sequence `[N_q]` of (value, low, high), distinguished by colour.

    Points and not bars, because the axis need not start at 0.
    """
    with _chart(theme, height=2.9) as (axes, data):
        for number, (values, colour) in enumerate(zip(runs, RUNS[theme], strict=False)):
            places = np.arange(len(values)) + (number + 0.5) * 0.5 / len(runs) - 0.25
            value, low, high = np.array(values).T
            errors = np.maximum(0, (value - low, high - value))
            axes.errorbar(places, value, yerr=errors, color=colour, fmt="o", markersize=5, elinewidth=2)
        count = max(map(len, runs))
        axes.set_xticks(range(count), [f"codebook {number + 1}" for number in range(count)])
        axes.set_xlim(-0.5, count - 0.5)
        axes.set_ylabel("NLL, nats per token")
        axes.grid(False, axis="x")
    return data.getvalue()
