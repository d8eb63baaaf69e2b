"""Windows of videos, downloaded by yt-dlp and ffmpeg into a persistent cache: in parallel, rate-limited, resumable.

yt-dlp finds the audio stream of a page, ffmpeg reads only the window from it. A downloaded window is a FLAC file in the
cache; a window that is gone for good is a `.gone` file with the reason and the address. Neither is requested again, except
a gone one at another address. Failures of the source as a whole mark no window as gone.
"""

import contextlib
import json
import random
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import quote

import soundfile

from musicgen_lite.errors import UserError, require
from musicgen_lite.io import audio
from musicgen_lite.io.files import atomic_path, explain, write_json
from musicgen_lite.sources import ffmpeg

PLACEHOLDER = "{ytid}"
# After so many failures in a row the rest is left to another run: no network, a rate limit, or a wrong address. If all
# of them were gone videos, some that were available before are requested, to tell a wrong address from gone videos.
GIVE_UP_AFTER = 30
CONTROLS = 3
BACKOFF_S = 2.0
SOCKET_TIMEOUT_S = 20
# Audio alone where there is such a stream, and one that ffmpeg can read by an address.
FORMAT = "bestaudio[protocol^=http]/bestaudio/best[protocol^=http]/best"
# HTTP statuses of an address that is gone for good.
GONE_STATUS = (404, 410, 451)
# Errors that sound final, but are transient.
TRANSIENT = re.compile(
    r"not a bot|rate.?limit|try again|too many requests|HTTP Error (403|408|425|429|5\d\d)", re.IGNORECASE
)


@dataclass(frozen=True)
class Window:
    """Seconds `start_s` to `end_s` of the video `ytid`."""

    ytid: str
    start_s: float
    end_s: float

    @property
    def name(self) -> str:
        """Unique, and safe as a file's name: ids may start with a dash."""
        return f"yt_{self.ytid}_{self.start_s:g}-{self.end_s:g}"


@dataclass(frozen=True)
class Missing:
    """Why a window is missing; `transient` if another run may get it."""

    reason: str
    transient: bool = False


class _Failed(Exception):
    def __init__(self, reason: str, transient: bool) -> None:
        super().__init__(reason)
        self.transient = transient


class _Quiet:
    """Drops yt-dlp's messages: errors are raised as well, and thousands of warnings would hide the progress bar."""

    def debug(self, message: str) -> None: ...

    def warning(self, message: str) -> None: ...

    def error(self, message: str) -> None: ...


@dataclass
class Fetcher:
    """Fetches windows into the folder `cache`.

    url: of a video, with `{ytid}` for its id; pause_s: least time between two requests of all workers together, in
    seconds; attempts: per window, for transient failures; options: more `YoutubeDL` options; retry_gone: request gone
    windows again. Raises UserError where yt-dlp or ffmpeg is not installed, or `cache` is no folder.
    """

    cache: Path
    url: str
    workers: int
    pause_s: float
    attempts: int
    options: Mapping[str, Any] = field(default_factory=dict)
    retry_gone: bool = False

    def __post_init__(self) -> None:
        ffmpeg.require("data.source musiccaps")
        self._yt_dlp = require("yt_dlp", extra="musiccaps", purpose="data.source musiccaps")
        self._local, self._lock, self._stop = threading.local(), threading.RLock(), threading.Event()
        self._next_start, self._failures, self._last = 0.0, 0, ""
        self._gone: list[tuple[Window, str]] = []  # among the last failures in a row, not marked yet
        self._available: list[Window] = []
        self._fetched = False
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"data.musiccaps.cache: {self.cache}: no folder can be made here ({error})") from error

    def fetch(self, windows: Sequence[Window]) -> Iterator[Path | Missing]:
        """The cached file of each window, in order, or why it is missing; `workers` download ahead of the reader."""
        self._available = [window for window in windows if self._path(window).is_file()]
        with ThreadPoolExecutor(self.workers, thread_name_prefix="fetch") as pool:
            futures = [pool.submit(self._one, window) for window in windows]
            try:
                for future in futures:
                    yield future.result()
                if self._fetched and self._failures < GIVE_UP_AFTER:
                    self._mark()
            finally:
                self._stop.set()
                pool.shutdown(cancel_futures=True)

    def _path(self, window: Window, suffix: str = "flac") -> Path:
        return self.cache / f"{window.name}.{suffix}"

    def _one(self, window: Window) -> Path | Missing:
        path = self._path(window)
        if path.is_file():
            return path
        known = self._known(window)
        if known is not None:
            return Missing(f"gone: {known}; found on an earlier run")
        for attempt in range(self.attempts):
            with self._lock:
                if self._failures >= GIVE_UP_AFTER:
                    return Missing(f"not tried: the last {GIVE_UP_AFTER} failed ({self._last})", transient=True)
            if attempt:
                self._stop.wait(BACKOFF_S * 2 ** (attempt - 1))
            self._wait_for_turn()
            if self._stop.is_set():
                return Missing("not tried: stopped", transient=True)
            try:
                self._download(window, path)
                self._succeeded(window)
                return path
            except _Failed as failure:
                reason = str(failure)
                if not failure.transient:
                    self._failed(reason, window)
                    return Missing(f"gone: {reason}")
        self._failed(reason)
        return Missing(f"not fetched: {reason}", transient=True)

    def _known(self, window: Window) -> str | None:
        """Why a window is gone at this address; None if it must be requested."""
        mark = self._path(window, "gone")
        if self.retry_gone or not mark.is_file():
            return None
        text = mark.read_text(encoding="utf-8").strip()
        try:
            entry = json.loads(text)
            return str(entry["reason"]) if entry["url"] == self.url else None
        except (ValueError, TypeError, KeyError):  # an earlier release wrote only the reason
            return text

    def _mark(self) -> None:
        """Write `.gone` files; the caller holds the lock, or no worker runs any more."""
        for window, reason in self._gone:
            write_json(self._path(window, "gone"), {"reason": reason, "url": self.url})
        self._gone = []

    def _succeeded(self, window: Window) -> None:
        """The source works, so earlier failures concern only their own windows."""
        self._path(window, "gone").unlink(missing_ok=True)
        with self._lock:
            self._mark()
            self._available.append(window)
            self._failures, self._fetched = 0, True

    def _failed(self, reason: str, gone: Window | None = None) -> None:
        with self._lock:
            self._failures, self._last = self._failures + 1, reason
            if gone:
                self._gone.append((gone, reason))
            if self._failures == len(self._gone) == GIVE_UP_AFTER and self._source_works():
                self._mark()
                self._failures = 0

    def _source_works(self) -> bool:
        """Whether the source still has a video that was available before; other workers wait meanwhile."""
        for window in random.sample(self._available, min(CONTROLS, len(self._available))):
            self._wait_for_turn()
            with contextlib.suppress(_Failed):
                self._find(window)
                return True
        return False

    def _wait_for_turn(self) -> None:
        with self._lock:
            start = max(monotonic(), self._next_start)
            self._next_start = start + self.pause_s
        self._stop.wait(max(0.0, start - monotonic()))

    def _download(self, window: Window, path: Path) -> None:
        """Raises _Failed with the reason."""
        info = self._find(window)
        seconds = info.get("duration")
        if seconds and seconds <= window.start_s:
            raise _Failed(f"the video has {seconds:g} s, the window starts at {window.start_s:g} s", transient=False)
        with atomic_path(path) as part:
            try:
                output = ffmpeg.cut(info["url"], part, window.start_s, window.end_s, self._reading(info))
            except ffmpeg.FfmpegError as error:
                explained = explain(error, path)
                if isinstance(explained, UserError):  # a full disk is not the video's fault
                    raise explained from error
                raise _Failed(_plain(str(error)), transient=True) from error
            found = _seconds(part)
            expected = min(window.end_s, seconds or window.end_s) - window.start_s
            if found < expected - 0.5 and (seconds or output):
                raise _Failed(
                    f"the stream broke off after {found:.1f} s of {expected:g} s" + _because(output), transient=True
                )
            if not found:
                raise _Failed(f"the video ends before {window.start_s:g} s", transient=False)

    def _find(self, window: Window) -> dict[str, Any]:
        """yt-dlp's facts about a video: `url`, `http_headers`, `duration` of its best audio stream."""
        page = self.url.replace(PLACEHOLDER, quote(window.ytid, safe=""))
        try:
            info = self._downloader().extract_info(page, download=False)
        except self._yt_dlp.utils.DownloadError as error:
            raise self._explain(error) from error
        if not info or "url" not in info:
            raise _Failed("no single audio stream there", transient=False)
        return dict(info)

    def _downloader(self) -> Any:
        """This thread's YoutubeDL, which holds cookies and connections and is not thread-safe."""
        if not hasattr(self._local, "downloader"):
            options = {
                "quiet": True, "no_warnings": True, "logger": _Quiet(), "format": FORMAT, "noplaylist": True,
                "socket_timeout": SOCKET_TIMEOUT_S,
            }  # fmt: skip
            self._local.downloader = self._yt_dlp.YoutubeDL(options | dict(self.options))
        return self._local.downloader

    def _reading(self, info: Mapping[str, Any]) -> list[str]:
        """ffmpeg's options for reading the stream as yt-dlp would.

        Cookies are passed with their domain: as a header they would follow every redirection.
        """
        downloader = self._downloader()
        headers = "".join(f"{name}: {value}\r\n" for name, value in (info.get("http_headers") or {}).items())
        cookies = "".join(
            f"{one.name}={one.value}; path={one.path}; domain={one.domain};\r\n"
            for one in downloader.cookiejar.get_cookies_for_url(info["url"])
        )
        proxy = downloader.params.get("proxy")
        return [
            *(["-headers", headers] if headers else []), *(["-cookies", cookies] if cookies else []),
            *(["-http_proxy", proxy] if proxy else []), "-rw_timeout", str(SOCKET_TIMEOUT_S * 1_000_000),
        ]  # fmt: skip

    def _explain(self, error: Any) -> _Failed:
        """yt-dlp's error as a transient or final failure, by its cause."""
        cause = error.exc_info[1] if error.exc_info else None
        message = _plain(str(error))
        networking = self._yt_dlp.networking.exceptions
        if isinstance(cause, networking.HTTPError):
            return _Failed(message, transient=cause.status not in GONE_STATUS)
        if isinstance(cause, networking.TransportError) or TRANSIENT.search(str(error)):
            return _Failed(message, transient=True)
        # An unexpected error: yt-dlp no longer understands the page, but a newer release may.
        return _Failed(message, transient=not getattr(cause, "expected", False))


def _seconds(part: Path) -> float:
    """Seconds of the file that ffmpeg wrote; the header of a file without samples has no length."""
    try:
        with audio.opened(part) as (file, frames):
            return (frames or 0) / file.samplerate
    except soundfile.LibsndfileError:
        return 0.0


def _because(output: str) -> str:
    return f" ({_plain(output.splitlines()[-1])})" if output else ""


def _plain(message: str) -> str:
    """The first sentence of an error, without the addresses and ids that make each one different."""
    text = message.strip().splitlines()[0] if message.strip() else "no reason given"
    text = re.sub(r"^(ERROR: )?(\[[^\]]*\] )?([\w-]{1,20}: )?", "", text).split(" (caused by")[0]
    text = re.sub(r"\S+://\S+?(: |$)", "", text)
    return re.split(r"(?<=\w)\. ", text)[0].strip().rstrip(".") or "no reason given"
