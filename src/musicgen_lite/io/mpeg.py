"""MP3s without a valid length: libsndfile estimates one from the first frame, and reads no further.

Where the first frame has no Xing header, or one that covers only a part of the file, libsndfile gets a stream that pretends to
be endless, and reads to its end.
"""

import io
from typing import BinaryIO

HEAD = 4096  # bytes after the ID3 tags, which hold the first frame
ID3 = 10  # bytes of a tag's header; the last four hold its length, 7 bits each
NAMES = (b"Xing", b"Info")
FRAMES, BYTES = 1, 2  # flags of the fields of such a header
JOINED = 0.9  # a header with a smaller share of the file's bytes belongs to the first of several joined files
ENDLESS = 2**62


class Endless:
    """The bytes of `stream` from `start` on, for libsndfile, which believes that they never end."""

    def __init__(self, stream: BinaryIO, start: int) -> None:
        self._stream, self._start = stream, start
        self.seek(0)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._asked = whence == io.SEEK_END
        if whence == io.SEEK_SET:
            self._stream.seek(self._start + offset)
        elif whence == io.SEEK_CUR:
            self._stream.seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        return ENDLESS if self._asked else self._stream.tell() - self._start

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)


def endless(stream: BinaryIO) -> Endless | None:
    """The stream for an MP3 without a valid length; None for one that has it."""
    size, first = stream.seek(0, io.SEEK_END), _behind_tags(stream)
    stream.seek(first)
    head = stream.read(HEAD)
    place = next((place for name in NAMES if (place := head.find(name)) >= 0), None)
    if place is None:
        return Endless(stream, first)
    flags, _, stated = (int.from_bytes(head[place + at : place + at + 4]) for at in (4, 8, 12))
    if flags & FRAMES and not (flags & BYTES and 0 < stated < JOINED * (size - first)):
        return None
    behind = head.find(head[:2], place)  # the next frame begins as this one
    return Endless(stream, first + max(behind, 0))


def _behind_tags(stream: BinaryIO) -> int:
    """The offset of the first frame."""
    place = 0
    while True:
        stream.seek(place)
        header = stream.read(ID3)
        if header[:3] != b"ID3":
            return place
        place += ID3 + sum(byte << 7 * power for power, byte in enumerate(reversed(header[6:])))
