"""Charsets by the names strangers give them, decoded piece by piece; nothing is ever refused.

Only names of a fixed list reach Python's codecs: others would be remembered for ever, and some codecs are no charsets or
cost more than linear time. Names that in practice mean a larger charset (gb2312, iso-8859-1) are read as that one.
Text without a name, with one nobody knows or with that of ASCII, is UTF-8 as long as it is valid, and Windows-1252 from there on.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from encodings.aliases import aliases
from functools import cache
from typing import Protocol

_NOT_CHARSETS = frozenset({
    "base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec", "mbcs", "idna",
    "punycode", "unicode_escape", "raw_unicode_escape", "undefined",
})  # fmt: skip
_MEANT: Mapping[str, str] = {
    "ansi_x3_4_1968": "", "ascii": "", "us_ascii": "", "unicode_1_1_utf_8": "utf_8", "utf8mb4": "utf_8",
    "iso_8859_1": "cp1252", "iso8859_1": "cp1252", "latin_1": "cp1252", "latin1": "cp1252", "l1": "cp1252",
    "x_unknown": "", "unknown_8bit": "", "default": "", "iso_8859_9": "cp1254", "tis_620": "cp874",
    "windows_874": "cp874", "iso_8859_11": "cp874", "iso_8859_8_i": "iso8859_8", "iso_8859_8_e": "iso8859_8",
    "gb2312": "gb18030", "gb_2312_80": "gb18030", "gbk": "gb18030", "x_gbk": "gb18030", "cp936": "gb18030",
    "big5": "cp950", "x_x_big5": "cp950", "shift_jis": "cp932", "x_sjis": "cp932", "sjis": "cp932",
    "windows_31j": "cp932", "ks_c_5601_1987": "cp949", "ks_c_5601": "cp949", "euc_kr": "cp949", "euckr": "cp949",
    "iso_2022_jp": "iso2022_jp_ext", "x_mac_roman": "mac_roman", "unicode_1_1_utf_7": "utf_7", "utf_8_mac": "utf_8",
}  # fmt: skip
_MARKED: Mapping[str, Sequence[tuple[bytes, str]]] = {
    "utf_16": ((codecs.BOM_UTF16_LE, "utf_16_le"), (codecs.BOM_UTF16_BE, "utf_16_be")),
    "utf_32": ((codecs.BOM_UTF32_LE, "utf_32_le"), (codecs.BOM_UTF32_BE, "utf_32_be")),
}
_NO_WORD = re.compile(r"[^a-z0-9]+")
_NAME_LENGTH = 40
_MAX_WAITING = 65_536


class Decoder(Protocol):
    """Bytes to text; `final` says that nothing follows."""

    def decode(self, data: bytes, final: bool = False) -> str:
        """The text of the next bytes."""
        ...


@cache
def _names() -> Mapping[str, str]:
    """Codec by normalised name."""
    known = {codec: codec for codec in aliases.values()} | aliases
    known.update((f"cp{number}", f"cp{number}") for number in (720, 737, 856, 874, 875, 1006))
    known.update((name, name) for name in ("koi8_r", "koi8_t", "koi8_u"))
    return {name: codec for name, codec in known.items() if codec not in _NOT_CHARSETS}


def codec_of(charset: str) -> str:
    """The Python codec of a charset's name; "" when that has to be guessed."""
    name = _NO_WORD.sub("_", charset[:_NAME_LENGTH].lower()).strip("_")
    if name in _MEANT:
        return _MEANT[name]
    return _names().get(name, "")


def decoder(charset: str) -> Decoder:
    """A fresh decoder for a part of this charset ("" when it does not say)."""
    name = codec_of(charset)
    if not name:
        return _Guessing()
    if name in _MARKED:
        return _Marked(_MARKED[name])
    try:
        found = codecs.getincrementaldecoder(name)("replace")
    except (LookupError, ImportError, OSError):  # left out of this Python, or its file cannot be read any more
        return _Guessing()
    return _Bounded(found) if name == "utf_7" else found


class _Guessing:
    """UTF-8 until it is none, Windows-1252 from then on."""

    def __init__(self) -> None:
        self._waiting = b""
        self._is_utf8 = True

    def decode(self, data: bytes, final: bool = False) -> str:
        """The text of the next bytes."""
        if self._is_utf8:
            data = self._waiting + data if self._waiting else data
            try:
                text, used = codecs.utf_8_decode(data, "strict", final)
            except UnicodeDecodeError:
                self._is_utf8 = False
            else:
                self._waiting = data[used:]
                return text
        return data.decode("cp1252", "replace")


class _Marked:
    """UTF-16 or UTF-32 whose first character may tell the order of its bytes; without one it is the network's. RFC 2781 4.3"""

    def __init__(self, marks: Sequence[tuple[bytes, str]]) -> None:
        self._marks = marks
        self._waiting = b""
        self._decoder: codecs.IncrementalDecoder | None = None

    def decode(self, data: bytes, final: bool = False) -> str:
        """The text of the next bytes."""
        if self._decoder is None:
            data = self._waiting + data
            if len(data) < len(self._marks[0][0]) and not final:
                self._waiting = data
                return ""
            mark, name = next((each for each in self._marks if data.startswith(each[0])), (b"", self._marks[-1][1]))
            self._decoder = codecs.getincrementaldecoder(name)("replace")
            data = data[len(mark) :]
        return self._decoder.decode(data, final)


class _Bounded:
    """A decoder that would wait for ever for the end of an escape sequence: its patience is limited."""

    def __init__(self, decoder: codecs.IncrementalDecoder) -> None:
        self._decoder = decoder

    def decode(self, data: bytes, final: bool = False) -> str:
        """The text of the next bytes."""
        text = self._decoder.decode(data, final)
        if len(self._decoder.getstate()[0]) > _MAX_WAITING:
            text += self._decoder.decode(b"", True)
            self._decoder.reset()
        return text
