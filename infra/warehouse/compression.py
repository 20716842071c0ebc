"""Packed bodies: HTTP's own encodings, and ClickHouse's frames (`compress=1`, `decompress=1`).

A frame: CityHash128 (the version that ClickHouse has kept, 1.0.2) of what follows, 16 bytes; the method, one byte; the frame's
size with these nine bytes, and the size when unpacked, four bytes each, little endian; the packed bytes.
"""

import gzip
import struct
import zlib
from collections.abc import Callable
from typing import Final

import lz4.block
import lz4.frame
import zstandard
from clickhouse_cityhash.cityhash import CityHash128

HASH: Final = struct.Struct("<QQ")
HEAD: Final = struct.Struct("<BII")
NONE, LZ4, ZSTD = 0x02, 0x82, 0x90
# ClickHouse's own: of a frame, unpacked.
FRAME_BYTES: Final = 1_048_576
LARGEST_FRAME: Final = 1_073_741_824

DECODERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "lz4": lz4.frame.decompress,
    "zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
}
# In the order in which they are taken where a client accepts several.
ENCODERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "zstd": lambda body: zstandard.ZstdCompressor(3).compress(body),
    "lz4": lz4.frame.compress,
    "gzip": lambda body: gzip.compress(body, 3),
    "deflate": lambda body: zlib.compress(body, 3),
}


def accepted(header: str) -> str:
    """The encoding for a client that accepts these; nothing: as it is."""
    named = {part.partition(";")[0].strip().lower() for part in header.split(",") if part.partition(";")[2].strip() != "q=0"}
    return next((encoding for encoding in ENCODERS if encoding in named), "")


def pack(body: bytes) -> bytes:
    """The body in frames."""
    return b"".join(_frame(body[start : start + FRAME_BYTES]) for start in range(0, len(body), FRAME_BYTES))


def _frame(part: bytes) -> bytes:
    packed: bytes = lz4.block.compress(part, store_size=False)
    rest = HEAD.pack(LZ4, len(packed) + HEAD.size, len(part)) + packed
    return HASH.pack(*_hash(rest)) + rest


def unpack(body: bytes) -> bytes:
    """What frames hold. Errors: ValueError for what is no frame, or whose hash is wrong."""
    parts, start = [], 0
    while start < len(body):
        head_ends = start + HASH.size + HEAD.size
        if head_ends > len(body):
            raise ValueError("Code: 271. DB::Exception: a compressed frame is cut off. (CANNOT_DECOMPRESS)")
        method, size, unpacked = HEAD.unpack_from(body, start + HASH.size)
        rest = body[start + HASH.size : start + HASH.size + size]
        if size < HEAD.size or len(rest) != size or HASH.pack(*_hash(rest)) != body[start : start + HASH.size]:
            raise ValueError("Code: 40. DB::Exception: a compressed frame's checksum does not match. (CHECKSUM_DOESNT_MATCH)")
        if unpacked > LARGEST_FRAME or method not in (NONE, LZ4, ZSTD):
            raise ValueError("Code: 271. DB::Exception: a compressed frame of no known method. (CANNOT_DECOMPRESS)")
        parts.append(_unpacked(method, rest[HEAD.size :], unpacked))
        start += HASH.size + size
    return b"".join(parts)


def _unpacked(method: int, packed: bytes, size: int) -> bytes:
    if method == NONE:
        return packed
    if method == LZ4:
        found: bytes = lz4.block.decompress(packed, uncompressed_size=size)
        return found
    return bytes(zstandard.ZstdDecompressor().decompress(packed, max_output_size=size))


def _hash(text: bytes) -> tuple[int, int]:
    whole: int = CityHash128(text)
    return whole >> 64, whole & 0xFFFF_FFFF_FFFF_FFFF
