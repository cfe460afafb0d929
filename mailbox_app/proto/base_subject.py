"""The base subject of RFC 5256 2.1: what is left of a subject when reply and forward marks are taken off.

Linear in the subject's length whatever it holds: two indexes move towards each other and nothing is copied.
"""

from __future__ import annotations

import re

from mailbox_app.proto.header import decode_words

_SPACES = re.compile(r"[ \t\r\n]+")
_BLOBS = re.compile(r"(?:\[[^\[\]]*+\] *+)*+")
_BLOB = re.compile(r"\[[^\[\]]*+\] *+")
_REFWD = re.compile(r"(?:re|fwd?) *+(?:\[[^\[\]]*+\] *+)?+:", re.IGNORECASE | re.ASCII)
# ASCII words without anything that could be a mark: most subjects, and their own base.
_BARE = re.compile(rb"[ \r\n\t]*+(?!\[)([!-9;-~]++(?: [!-9;-~]++)*+(?<!\)))[ \r\n]*+")
_TRAILER = "(fwd)"
_FORWARD_HEAD = "[fwd:"


def base_subject(raw: bytes) -> tuple[str, bool]:
    """The base subject of a Subject field's value, and whether the message is a reply or a forward."""
    bare = _BARE.fullmatch(raw)
    if bare is not None and b"=?" not in raw:
        return bare[1].decode("ascii"), False
    return strip_subject(decode_words(raw))


def strip_subject(subject: str) -> tuple[str, bool]:
    """The same from a decoded subject."""
    text = _SPACES.sub(" ", subject)
    start, end = 0, len(text)
    is_reply = False
    while True:
        end, trailed = _without_trailers(text, start, end)
        start, led = _without_leaders(text, start, end)
        is_reply = is_reply or trailed or led
        # step 6: a forward mark around the rest
        if text[start : min(start + 5, end)].lower() != _FORWARD_HEAD or text[end - 1] != "]":
            return text[start:end], is_reply
        start, end, is_reply = start + 5, end - 1, True


def _without_trailers(text: str, start: int, end: int) -> tuple[int, bool]:
    """Step 2."""
    is_reply = False
    while end > start:
        if text[end - 1] == " ":
            end -= 1
        elif end - start >= 5 and text[end - 5 : end].lower() == _TRAILER:
            end -= 5
            is_reply = True
        else:
            break
    return end, is_reply


def _without_leaders(text: str, start: int, end: int) -> tuple[int, bool]:
    """Steps 3 to 5: marks with the blobs before them, then blobs as long as something is left."""
    is_reply = False
    while start < end:
        if text[start] == " ":
            start += 1
            continue
        blobs = _BLOBS.match(text, start, end)
        after = blobs.end() if blobs else start
        mark = _REFWD.match(text, after, end)
        if mark is not None:
            start = mark.end()
            is_reply = True
            continue
        if after < end or after == start:
            return after, is_reply
        # nothing but blobs is left: the last one is the subject
        while (blob := _BLOB.match(text, start, end)) is not None and blob.end() < end:
            start = blob.end()
        return start, is_reply
    return start, is_reply
