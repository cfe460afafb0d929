"""Text from outside made safe to print: on a terminal, in a log, in an answer of the control socket.

Control characters (also the C1 ones, which many terminals obey), bidirectional overrides, other invisible format characters
and lone surrogates become U+FFFD, so that nothing can move the cursor, hide itself or turn a line around.
"""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
_UNSAFE_BUT_LINES = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))


def clean(text: str, limit: int = 2000) -> str:
    """One line of at most `limit` characters."""
    return _UNSAFE.sub("\ufffd", text[:limit])


def clean_lines(text: str, limit: int = 100_000) -> str:
    """The same for text of several lines: line feeds and tabs stay, CRLF becomes LF."""
    return _UNSAFE_BUT_LINES.sub("\ufffd", text[:limit].replace("\r\n", "\n"))
