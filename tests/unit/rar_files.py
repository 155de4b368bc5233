"""A writer of .rar archives (version 4) whose members are stored, as no free tool makes any.

The format: a marker, then blocks of CRC-16 (the low half of a CRC-32), type, flags and length of the header, little-endian; an
archive header of type 0x73, a header of type 0x74 before each file's bytes, and an end of type 0x7b.
"""

import stat
import struct
import zlib

_MARKER = b"Rar!\x1a\x07\x00"
_STORED = 0x30
_UNIX = 3


def rar(members, modes=None, lie=None):
    """Bytes of an archive of these members (name -> bytes); `lie` maps names to a CRC that is wrong."""
    modes, lie = modes or {}, lie or {}
    parts = [_MARKER, _block(0x73, 0, b"\0" * 6)]
    for name, data in members.items():
        folder = name.endswith("/")
        mode = modes.get(name, (stat.S_IFDIR | 0o755) if folder else (stat.S_IFREG | 0o644))
        encoded = name.rstrip("/").replace("/", "\\").encode()
        crc = lie.get(name, zlib.crc32(data))
        made = 0x5A21_6000  # a day, in the time of MS-DOS
        body = struct.pack("<IIBIIBBHI", len(data), len(data), _UNIX, crc, made, 20, _STORED, len(encoded), mode)
        parts.append(_block(0x74, 0x8000 | (0xE0 if folder else 0), body + encoded) + data)
    return b"".join([*parts, _block(0x7B, 0x4000, b"")])


def _block(kind, flags, body):
    rest = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
    return struct.pack("<H", zlib.crc32(rest) & 0xFFFF) + rest
