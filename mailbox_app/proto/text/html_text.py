"""HTML to text, piece by piece and in linear time: markup goes, entities become characters, blocks become lines.

This is no parser: nothing is nested, nothing is remembered but a construct that a piece cut in two, and of that only as
much as tells what it is. Comments, scripts and style sheets are left out with all they hold; white space is joined as
a browser would. An attribute with a bare ">" may leave its rest in the text, which costs nobody anything.
"""

from __future__ import annotations

import re
from html.entities import html5

_SPACE = re.compile(r"[ \t\n\r\f]+")
# One that is never closed takes the rest of the piece with it: every character is looked at once.
_HIDDEN = re.compile(
    r"<!--(?:-?>|.*?(?:-->|\Z))|<(script|style)(?=[\s/>]).*?(?:</\1(?=[\s/>])|\Z)", re.DOTALL | re.IGNORECASE
)
_BLOCK = re.compile(
    r"</?(?:address|article|blockquote|body|br|center|dd|div|dl|dt|footer|form|h[1-6]|head|header|hr|li|ol|option|p|pre|"
    r"section|table|td|th|title|tr|ul)(?=[\s/>])[^>]*+>",
    re.IGNORECASE,
)
_TAG = re.compile(r"<[a-zA-Z/!?][^>]*+>")
_ENTITY = re.compile(r"&(?:#(?:([0-9]++)|[xX]([0-9a-fA-F]++))|([a-zA-Z][a-zA-Z0-9]{1,31}));?")
_LINES = re.compile(r" ?\n[ \n]*")
_SPACES = re.compile("  +")
_OPENING = re.compile(r"<(?:[a-zA-Z/!?]|\Z)")
_ENTITY_BEGUN = re.compile(r"&[#0-9a-zA-Z]{0,33}\Z")
_DIGITS = 8
_TAG_START = 64
"""No name of a tag is longer; what follows it changes nothing."""
_HIDDEN_END = 16
"""What ends a comment or a script fits in it."""
_WINDOWS = {0x80 + number: bytes((0x80 + number,)).decode("cp1252", "replace") for number in range(32)}


class HtmlText:
    """The text of one document, given in pieces."""

    def __init__(self) -> None:
        self._rest = ""
        self._space = ""
        """White space at the end of what was given: what follows decides what becomes of it."""
        self._begun = False

    def feed(self, piece: str, final: bool = False) -> str:
        """The text of the next piece, as far as it is known."""
        html, self._rest = self._rest + piece, ""
        html = self._without_tags(self._without_hidden(html, final), final) if "<" in html else _SPACE.sub(" ", html)
        if "&" in html:
            begun = None if final or self._rest else _ENTITY_BEGUN.search(html, max(0, len(html) - _TAG_START))
            if begun is not None:
                html, self._rest = html[: begun.start()], begun[0]
            html = _ENTITY.sub(_character, html)
        html = _LINES.sub("\n", _SPACES.sub(" ", self._space + html))
        text = html.rstrip(" \n")
        self._space = html[len(text) :]
        if not self._begun:
            text = text.lstrip(" \n")
            self._begun = bool(text)
            self._space = self._space if text else ""
        return text

    def _without_hidden(self, html: str, final: bool) -> str:
        """Comments and scripts taken out; one without an end goes into the rest, by its beginning and its end."""
        pieces: list[str] = []
        position = 0
        for match in _HIDDEN.finditer(html):
            pieces.append(html[position : match.start()])
            position = match.end()
            name = match[1]
            if name and position < len(html):
                pieces.append("</")  # makes a tag of the ">" that follows
            elif name or not match[0].endswith(("-->", "<!--->")):
                if not final:
                    self._rest = match[0] if len(match[0]) < _TAG_START else _shortened(match)
                break
        if not pieces:
            return html
        pieces.append(html[position:])
        return "".join(pieces)

    def _without_tags(self, html: str, final: bool) -> str:
        """Also white space is joined. Beyond the last ">" is no whole tag; looking for one there would take long."""
        end = html.rfind(">") + 1
        tail = html[end:]
        if not final and not self._rest:
            cut = _OPENING.search(tail)
            if cut is not None:
                self._rest, tail = tail[cut.start() : cut.start() + _TAG_START], tail[: cut.start()]
        whole = _TAG.sub("", _BLOCK.sub("\n", _SPACE.sub(" ", html[:end])))
        return whole + _SPACE.sub(" ", tail)


def _shortened(match: re.Match[str]) -> str:
    """What does as well as an unfinished comment or script."""
    opening = f"<{match[1]} " if match[1] else "<!-- "
    return opening + match[0][-_HIDDEN_END:]


def _character(match: re.Match[str]) -> str:
    decimal, hexadecimal, name = match.groups()
    if name is not None:
        found = html5.get(name + ";") or html5.get(name)
        return match[0] if found is None else found
    digits = (decimal or hexadecimal).lstrip("0")
    code = int(digits[:_DIGITS] or "0", 10 if decimal else 16)  # more are no character anyway
    if code in _WINDOWS:
        return _WINDOWS[code]
    if not code or code > 0x10FFFF or 0xD800 <= code < 0xE000:
        return "\ufffd"
    return chr(code)
