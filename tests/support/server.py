"""A local HTTP server of audio: it counts what is asked of it, and fails as it is told to."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import unquote

TYPES = {"wav": "audio/x-wav", "mp3": "audio/mpeg", "m4a": "audio/mp4", "webm": "audio/webm", "flac": "audio/flac"}


class Server:
    """Serves `find(name)`: the bytes of a file, or an HTTP status.

    requests: how often each name was asked for; headers: those of every request; about: headers of every answer; ranges: whether parts of a file can be asked for, as on most hosts.
    """

    def __init__(
        self, find: Callable[[str], bytes | int], ranges: bool = True, about: Mapping[str, str] | None = None
    ) -> None:
        self.requests: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                name = unquote(self.path.lstrip("/"))
                outer.requests[name] += 1
                outer.headers.append(dict(self.headers))
                found = find(name)
                if isinstance(found, int):
                    self.send_error(found)
                    return
                wanted = self.headers.get("Range", "") if ranges else ""
                first, last = 0, len(found) - 1
                if wanted.startswith("bytes="):
                    start, _, end = wanted.removeprefix("bytes=").partition("-")
                    first, last = int(start), min(int(end or last), last)
                    if first > last:
                        self.send_error(416)
                        return
                self.send_response(206 if wanted else 200)
                if wanted:
                    self.send_header("Content-Range", f"bytes {first}-{last}/{len(found)}")
                if ranges:
                    self.send_header("Accept-Ranges", "bytes")
                for key, value in (about or {}).items():
                    self.send_header(key, value)
                self.send_header("Content-Type", TYPES.get(name.rsplit(".", 1)[-1], "text/plain"))
                self.send_header("Content-Length", str(last - first + 1))
                self.end_headers()
                try:
                    if self.command != "HEAD":
                        self.wfile.write(found[first : last + 1])
                except OSError:  # the reader has had enough
                    self.close_connection = True

            do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None: ...

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: object, client_address: object) -> None:
                """Readers hang up when they have what they want."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Server":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
