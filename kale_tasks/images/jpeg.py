"""Copies the pixels of a JPEG without decoding them, and leaves out all else that its file holds."""

import re

_START, _END = b"\xff\xd8", 0xD9
_SCAN = 0xDA
# Baseline, extended and progressive frames with Huffman codes, tables, restart interval and scans.
_KEPT = {0xC0, 0xC1, 0xC2, 0xC4, 0xDB, 0xDD, _SCAN}
_APPLICATION, _COMMENT = range(0xE0, 0xF0), 0xFE
_ADOBE = 0xEE  # says whether the colours are RGB or YCbCr
_JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
# Up to the next marker, in one pass whatever the bytes are.
_CODED = re.compile(rb"[^\xff]*+(?:\xff++[\x00\xd0-\xd7][^\xff]*+)*+")


def without_metadata(data: bytes) -> bytes | None:
    """Return a JPEG with the same pixels and no metadata, thumbnails, comments or bytes after its end.

    Returns None if the file has parts that a plain JPEG does not have; it must then be decoded and encoded again.
    """
    if not data.startswith(_START):
        return None
    pieces, at = [_START, _JFIF], 2
    while True:
        found = _MARKER.match(data, at)
        if found is None:
            return None
        kind, at = found[1][0], found.end()
        if kind == _END:
            return b"".join((*pieces, b"\xff\xd9")) if len(pieces) > 2 else None
        end = at + int.from_bytes(data[at : at + 2], "big")
        if end < at + 2 or end > len(data):
            return None
        if kind in _KEPT or (kind == _ADOBE and data[at + 2 : at + 7] == b"Adobe"):
            if kind == _ADOBE:
                pieces[1] = b""  # a JFIF header would say YCbCr
            pieces.append(b"\xff" + bytes((kind,)) + data[at:end])
        elif kind not in _APPLICATION and kind != _COMMENT:
            return None
        if kind == _SCAN:
            pieces.append(_CODED.match(data, end)[0])  # type: ignore[index]  # it matches any bytes
            end += len(pieces[-1])
        at = end
