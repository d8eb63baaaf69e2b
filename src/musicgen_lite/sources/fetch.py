"""Windows of videos by yt-dlp and ffmpeg into a cache that outlives the run: parallel, at a pace, resumable.

yt-dlp finds the audio stream behind a page, ffmpeg reads only the window from it. A window that was fetched is a FLAC
file in the cache, one that is gone for good a `.gone` file with the reason and the address: neither is asked for again,
but for what is gone at another address. What fails for all alike is the source's fault, and marks none.
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

PLACE = "{ytid}"
# After so many windows in a row that failed the rest is left for another run: there is no network, the site has had
# enough, or the address is wrong. Before the last is said of videos that are gone, some that were there are asked for.
GIVE_UP_AFTER = 30
CONTROLS = 3
BACKOFF_S = 2.0
SOCKET_TIMEOUT_S = 20
# Audio alone where there is such a stream, and one that ffmpeg can read by an address.
FORMAT = "bestaudio[protocol^=http]/bestaudio/best[protocol^=http]/best"
# Statuses that mean the address itself is no more.
GONE_STATUS = (404, 410, 451)
# Words of errors that a site words as final, though they pass.
PASSING = re.compile(
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
    """Why a window is not there; `passing` where another run may get it."""

    reason: str
    passing: bool = False


class _Failed(Exception):
    def __init__(self, reason: str, passing: bool) -> None:
        super().__init__(reason)
        self.passing = passing


class _Quiet:
    """yt-dlp's messages: errors come as exceptions as well, and thousands of warnings hide the progress."""

    def debug(self, message: str) -> None: ...

    def warning(self, message: str) -> None: ...

    def error(self, message: str) -> None: ...


@dataclass
class Fetcher:
    """Fetches windows into the folder `cache`.

    url: of a video, with `{ytid}` where its id goes; pause_s: at least so many seconds lie between two requests of all
    workers together; attempts: per window where a failure may pass; options: more of yt-dlp's `YoutubeDL` options;
    retry_gone: ask again for what was found to be gone. Raises UserError where yt-dlp or ffmpeg is not installed, or
    `cache` is no folder.
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
        self._gone: list[tuple[Window, str]] = []  # of the failures in a row, not yet marked
        self._there: list[Window] = []
        self._fetched = False
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"data.musiccaps.cache: {self.cache}: no folder can be made here ({error})") from error

    def fetch(self, windows: Sequence[Window]) -> Iterator[Path | Missing]:
        """The cached file of each window, in their order, or why there is none; `workers` go ahead of the reader."""
        self._there = [window for window in windows if self._path(window).is_file()]
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
                    return Missing(f"not tried: the last {GIVE_UP_AFTER} failed ({self._last})", passing=True)
            if attempt:
                self._stop.wait(BACKOFF_S * 2 ** (attempt - 1))
            self._wait_for_turn()
            if self._stop.is_set():
                return Missing("not tried: stopped", passing=True)
            try:
                self._download(window, path)
                self._succeeded(window)
                return path
            except _Failed as failure:
                reason = str(failure)
                if not failure.passing:
                    self._failed(reason, window)
                    return Missing(f"gone: {reason}")
        self._failed(reason)
        return Missing(f"not fetched: {reason}", passing=True)

    def _known(self, window: Window) -> str | None:
        """Why a window was found to be gone at this address; None where it is to be asked for."""
        mark = self._path(window, "gone")
        if self.retry_gone or not mark.is_file():
            return None
        text = mark.read_text(encoding="utf-8").strip()
        try:
            held = json.loads(text)
            return str(held["reason"]) if held["url"] == self.url else None
        except (ValueError, TypeError, KeyError):  # of earlier releases, which wrote the reason alone
            return text

    def _mark(self) -> None:
        """Write down for good what was found to be gone; the lock is held, or all is over."""
        for window, reason in self._gone:
            write_json(self._path(window, "gone"), {"reason": reason, "url": self.url})
        self._gone = []

    def _succeeded(self, window: Window) -> None:
        """The source works: what failed before this one failed for itself."""
        self._path(window, "gone").unlink(missing_ok=True)
        with self._lock:
            self._mark()
            self._there.append(window)
            self._failures, self._fetched = 0, True

    def _failed(self, reason: str, gone: Window | None = None) -> None:
        with self._lock:
            self._failures, self._last = self._failures + 1, reason
            if gone:
                self._gone.append((gone, reason))
            if self._failures == len(self._gone) == GIVE_UP_AFTER and self._works():
                self._mark()
                self._failures = 0

    def _works(self) -> bool:
        """Whether a video that was there once is still found; others wait for the answer."""
        for window in random.sample(self._there, min(CONTROLS, len(self._there))):
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
            raise _Failed(f"the video has {seconds:g} s, the window starts at {window.start_s:g} s", passing=False)
        with atomic_path(path) as part:
            try:
                remark = ffmpeg.cut(info["url"], part, window.start_s, window.end_s, self._reading(info))
            except ffmpeg.FfmpegError as error:
                explained = explain(error, path)
                if isinstance(explained, UserError):  # a full disk is not the video's fault
                    raise explained from error
                raise _Failed(_plain(str(error)), passing=True) from error
            found = _seconds(part)
            due = min(window.end_s, seconds or window.end_s) - window.start_s
            if found < due - 0.5 and (seconds or remark):
                raise _Failed(f"the stream broke off after {found:.1f} s of {due:g} s" + _because(remark), passing=True)
            if not found:
                raise _Failed(f"the video ends before {window.start_s:g} s", passing=False)

    def _find(self, window: Window) -> dict[str, Any]:
        """What yt-dlp knows of a video: `url`, `http_headers`, `duration` of its best audio stream."""
        page = self.url.replace(PLACE, quote(window.ytid, safe=""))
        try:
            info = self._downloader().extract_info(page, download=False)
        except self._yt_dlp.utils.DownloadError as error:
            raise self._explain(error) from error
        if not info or "url" not in info:
            raise _Failed("no single audio stream there", passing=False)
        return dict(info)

    def _downloader(self) -> Any:
        """One YoutubeDL a thread: it keeps cookies and connections, and is not made to be shared."""
        if not hasattr(self._local, "downloader"):
            options = {
                "quiet": True, "no_warnings": True, "logger": _Quiet(), "format": FORMAT, "noplaylist": True,
                "socket_timeout": SOCKET_TIMEOUT_S,
            }  # fmt: skip
            self._local.downloader = self._yt_dlp.YoutubeDL(options | dict(self.options))
        return self._local.downloader

    def _reading(self, info: Mapping[str, Any]) -> list[str]:
        """ffmpeg's options for reading the stream as yt-dlp would.

        Cookies go with their domain, not as a header, which would follow every redirection.
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
        """Whether yt-dlp's error is final, from what caused it."""
        cause = error.exc_info[1] if error.exc_info else None
        message = _plain(str(error))
        networking = self._yt_dlp.networking.exceptions
        if isinstance(cause, networking.HTTPError):
            return _Failed(message, passing=cause.status not in GONE_STATUS)
        if isinstance(cause, networking.TransportError) or PASSING.search(str(error)):
            return _Failed(message, passing=True)
        # What yt-dlp did not expect is a page that it no longer understands: a newer release may.
        return _Failed(message, passing=not getattr(cause, "expected", False))


def _seconds(part: Path) -> float:
    """The length of what ffmpeg wrote; it leaves the length out of the header of a file without samples."""
    try:
        with audio.opened(part) as (file, frames):
            return (frames or 0) / file.samplerate
    except soundfile.LibsndfileError:
        return 0.0


def _because(remark: str) -> str:
    return f" ({_plain(remark.splitlines()[-1])})" if remark else ""


def _plain(message: str) -> str:
    """The first sentence of an error, without the addresses and ids that make each one different."""
    text = message.strip().splitlines()[0] if message.strip() else "no reason given"
    text = re.sub(r"^(ERROR: )?(\[[^\]]*\] )?([\w-]{1,20}: )?", "", text).split(" (caused by")[0]
    text = re.sub(r"\S+://\S+?(: |$)", "", text)
    return re.split(r"(?<=\w)\. ", text)[0].strip().rstrip(".") or "no reason given"
