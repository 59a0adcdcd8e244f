"""What a file's outermost parts say and FFmpeg does not tell: whether an MP4 is in fragments, and all is there."""

import io
import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

_SEGMENT = b"\x18\x53\x80\x67"
_EBML = b"\x1a\x45\xdf\xa3"


@dataclass(frozen=True)
class FileLayout:
    """The outermost parts of a file.

    Args:
        fragmented: whether it is an MP4 in fragments, whose first index lists only some of the frames.
        cut_short: whether parts of it are missing at the end.
    """

    fragmented: bool = False
    cut_short: bool = False


def layout_of_mp4(file: BinaryIO) -> FileLayout:
    """The layout of a file of boxes. Where none is a fragment the index tells what is missing, and this does not."""
    size, place, fragmented = file.seek(0, io.SEEK_END), 0, False
    while place + 8 <= size:
        file.seek(place)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        fragmented = fragmented or kind == b"moof"
        if length == 0:  # to the end
            return FileLayout(fragmented)
        if length < 8:  # no box: damaged, which decoding will tell
            return FileLayout(fragmented)
        place += length
    return FileLayout(fragmented, fragmented and place != size)


def layout_of_matroska(file: BinaryIO) -> FileLayout:
    """The layout of a Matroska or WebM file, by the size that its segment says, if it does."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(4) != _EBML:
        return FileLayout()
    header = _length(file)
    if header is None or header > size:
        return FileLayout()
    file.seek(header, os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return FileLayout()
    length = _length(file)
    return FileLayout(cut_short=length is not None and file.tell() + length > size)


def _length(file: BinaryIO) -> int | None:
    """An element's length, which follows its name; None where it says that it does not know, or nothing follows."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] ^ (1 << 7 - more)]) + file.read(more), "big")
    return None if value == (1 << 7 * (more + 1)) - 1 else value
