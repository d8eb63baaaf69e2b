"""Windows of videos by yt-dlp and ffmpeg into a cache that outlives the run: parallel, at a pace, resumable.

yt-dlp finds the audio stream behind a page, ffmpeg reads only the window from it. A window that was fetched is a FLAC
file in the cache, one that is gone for good a `.gone` file with the reason: neither is asked for again.
"""

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

from musicgen_lite import audio
from musicgen_lite.errors import UserError, require
from musicgen_lite.sources import ffmpeg
from musicgen_lite.store import atomic_path, explain, write_text

PLACE = "{ytid}"
# After so many windows in a row that failed for reasons that may pass, the rest is left for another run: there is no
# network, or the site has had enough.
GIVE_UP_AFTER = 30
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
    workers together; attempts: per window where a failure may pass; options: more of yt-dlp's `YoutubeDL` options.
    Raises UserError where yt-dlp or ffmpeg is not installed.
    """

    cache: Path
    url: str
    workers: int
    pause_s: float
    attempts: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ffmpeg.require("data.source musiccaps")
        self._yt_dlp = require("yt_dlp", extra="musiccaps", purpose="data.source musiccaps")
        self._local, self._lock, self._stop = threading.local(), threading.Lock(), threading.Event()
        self._next_start, self._failures, self._last = 0.0, 0, ""
        self.cache.mkdir(parents=True, exist_ok=True)

    def fetch(self, windows: Sequence[Window]) -> Iterator[Path | Missing]:
        """The cached file of each window, in their order, or why there is none; `workers` go ahead of the reader."""
        with ThreadPoolExecutor(self.workers, thread_name_prefix="fetch") as pool:
            futures = [pool.submit(self._one, window) for window in windows]
            try:
                for future in futures:
                    yield future.result()
            finally:
                self._stop.set()
                pool.shutdown(cancel_futures=True)

    def _one(self, window: Window) -> Path | Missing:
        path, gone = self.cache / f"{window.name}.flac", self.cache / f"{window.name}.gone"
        if path.is_file():
            return path
        if gone.is_file():
            return Missing(f"gone: {gone.read_text(encoding='utf-8').strip()}")
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
                self._note(None)
                return path
            except _Failed as failure:
                reason = str(failure)
                if not failure.passing:
                    self._note(None)
                    write_text(gone, reason + "\n")
                    return Missing(f"gone: {reason}")
        self._note(reason)
        return Missing(f"not fetched: {reason}", passing=True)

    def _note(self, failure: str | None) -> None:
        with self._lock:
            self._failures, self._last = (self._failures + 1, failure) if failure else (0, "")

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
