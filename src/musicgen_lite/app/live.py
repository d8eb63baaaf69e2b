"""Sound that is heard while it is made, as Gradio streams it: ffmpeg encodes it, and a browser asks for segment after segment.

Gradio hands on what ffmpeg has given at the moment, which may be a twentieth of what it was fed; the browser plays that, falls
silent, and asks again a second or two later. `install` has it wait for what it was fed, and hand that on as short segments that are there at
once: of several that come one after another a browser finds the first alone, and asks as rarely as the longest is long.
"""

import math
import shutil
import time
from typing import Any

import numpy as np

from musicgen_lite import wav
from musicgen_lite.errors import require

require("gradio", extra="app", purpose="the web page")

from gradio import blocks  # noqa: E402
from gradio.audio_stream_encoder import AAC_FRAME_SAMPLES, AacStreamEncoder, parse_adts_frames  # noqa: E402
from gradio.components import audio  # noqa: E402
from gradio.route_utils import MediaStream  # noqa: E402

HELD = 2  # frames that the encoder may keep for what comes next
SEGMENT_S = 0.5  # of the longest segment
START_S = 5.0  # that ffmpeg may take to start on a busy machine, and a segment to be encoded


class WholeEncoder(AacStreamEncoder):
    """Gradio's encoder, which gives all frames of what it was fed but the last."""

    _fed = _taken = 0  # samples, frames

    def feed(self, pcm: bytes) -> None:
        super().feed(pcm)
        self._fed += len(pcm) // (2 * self.channels)

    def take(self, timeout: float | None = None) -> list[bytes]:
        due = self._fed * self.output_rate // (self.sample_rate * AAC_FRAME_SAMPLES) - HELD
        frames: list[bytes] = []
        end = time.monotonic() + START_S
        while self._taken + len(frames) < due and time.monotonic() < end and not self._at_eof:
            frames += super().take(0.1)
        self._taken += len(frames)
        return frames


class ShortSegments(MediaStream):
    """Gradio's stream, which parts a longer segment into short ones."""

    async def add_segment(self, data: dict[str, Any] | None) -> None:
        for segment in _parted(data) if data else []:
            await super().add_segment(segment)


def _parted(data: dict[str, Any]) -> list[dict[str, Any]]:
    """A segment, ADTS frames and their duration in s, as several of one length, at most SEGMENT_S."""
    frames, _ = parse_adts_frames(data["data"])
    each_s = data["duration"] / len(frames)
    count = math.ceil(len(frames) / int(SEGMENT_S / each_s))
    most = math.ceil(len(frames) / count)
    parts = [frames[first : first + most] for first in range(0, len(frames), most)]
    return [{**data, "data": b"".join(part), "duration": len(part) * each_s} for part in parts]


def install() -> None:
    """Have Gradio's players of streamed sound use this encoder and these segments."""
    audio.AacStreamEncoder = WholeEncoder  # type: ignore[attr-defined]
    blocks.MediaStream = ShortSegments


def possible() -> bool:
    """Whether ffmpeg is there, with its ffprobe, by which Gradio measures each segment."""
    return all(shutil.which(name) for name in ("ffmpeg", "ffprobe"))


def segment(samples: np.ndarray, rate: int) -> bytes:
    """Samples `[T]` as what a streaming player takes."""
    return wav.header(rate, len(samples)) + wav.pcm(samples)
