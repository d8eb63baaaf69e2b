"""Put on PYTHONPATH, refuses a process every address but this machine's own, and writes it into the file REFUSED_ADDRESSES."""

import errno
import os
import sys
from typing import Any

ADDRESSES = ("socket.connect", "socket.sendto", "socket.sendmsg")  # of a socket
NAMES = ("socket.getaddrinfo", "socket.gethostbyname")
OWN = ("", "localhost", "::", "::1", "0.0.0.0")


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    host = _host(event, arguments)
    if host in OWN or host.startswith("127."):
        return
    with open(os.environ["REFUSED_ADDRESSES"], "a", encoding="utf-8") as file:
        file.write(f"{event} {host}\n")
    raise OSError(errno.ENETUNREACH, f"there is no network here, and {host} was asked for")


def _host(event: str, arguments: tuple[Any, ...]) -> str:
    """The host that a call would reach; empty for sockets of the file system, and for what is no call to a host."""
    found = arguments[0] if event in NAMES else ""
    if event in ADDRESSES and isinstance(arguments[1], tuple):
        found = arguments[1][0]
    return found.decode() if isinstance(found, bytes) else str(found or "")


if "REFUSED_ADDRESSES" in os.environ:
    sys.addaudithook(_refuse)
