"""What stands between the network and Gradio: how large a request may be, and what a browser may load."""

from typing import Any

MAX_UPLOAD_MB = 100
MAX_BODY = (MAX_UPLOAD_MB + 1) * 2**20  # a file, and what a form puts around it
# What a browser may load: this server's own files alone.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self' data: blob:; media-src 'self' data: blob:; worker-src 'self' blob:"
)


class Guard:
    """An ASGI middleware that refuses what is too large before a byte of it is kept, and adds `POLICY` to each answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            await send(message)

        if refusal := _refusal(dict(scope["headers"])):
            status, words = refusal
            headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
            await sent({"type": "http.response.start", "status": status, "headers": headers})
            await sent({"type": "http.response.body", "body": words.encode()})
        else:
            await self.app(scope, receive, sent)


def _refusal(headers: dict[bytes, bytes]) -> tuple[int, str] | None:
    """The status and the words for a request that is refused."""
    if b"transfer-encoding" in headers:
        return 411, f"the upload does not say how long it is; a file of at most {MAX_UPLOAD_MB} MB can be uploaded"
    length = int(headers.get(b"content-length", b"0"))
    if length > MAX_BODY:
        return 413, f"the upload has {length / 2**20:.0f} MB; a file of at most {MAX_UPLOAD_MB} MB can be uploaded"
    return None
