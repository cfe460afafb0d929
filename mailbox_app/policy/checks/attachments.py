"""Files that do harm: programs and links to programs by name or by what they are, also inside ZIP archives.

Names are read as a desktop reads them: trailing dots and spaces do not count, the last ending does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import ClassVar

from mailbox_app.policy.check import Mode, QuickCheck
from mailbox_app.policy.content import content_of
from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.files import AttachedFile
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding, Verdict
from mailbox_app.proto.header import Header
from mailbox_app.proto.smtp.replies import Reply

_PROGRAMS = frozenset({"exe", "elf", "macho", "lnk"})
_SCORE = 3.0
_TURNED = "\u202e\u202d\u2066\u2067\u2068\u200f"
"""Characters that make "gpj.exe" read "exe.jpg"."""
_UNSEEN = " .\t\u200b\u200c\u200d\u2060\ufeff\u00a0"
_PICTURES = ("jpg", "jpeg", "png", "gif", "mp3", "mp4", "avi", "mov")
_DOCUMENTS = frozenset(
    (
        *_PICTURES,
        "pdf",
        "doc",
        "docx",
        "xls",
        "xlsx",
        "ppt",
        "pptx",
        "odt",
        "ods",
        "txt",
        "rtf",
        "zip",
        "htm",
        "html",
        "csv",
    )
)
_KINDS = {
    "pdf": {"pdf"},
    "png": {"png"},
    "jpg": {"jpeg"},
    "jpeg": {"jpeg"},
    "gif": {"gif"},
}


def _is_plain_text(header: Header) -> bool:
    """One text without a name: what most programs write, known without reading it."""
    kind = header.first(b"content-type") or b"text/plain"
    return (
        kind.strip().lower().startswith(b"text/plain")
        and b"name" not in kind.lower()
        and not header.count(b"content-disposition")
        and header.count(b"content-type") <= 1
    )


class Attachments(QuickCheck):
    """Junk, or refused where the configuration says so."""

    name: ClassVar[str] = "attachments"
    stage: ClassVar[Stage] = Stage.MESSAGE
    default_mode: ClassVar[Mode] = "enforce"

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """A finding for each harmful file, at most ten."""
        message = facts.message
        if message is None or _is_plain_text(message.header):
            return ()
        content = await content_of(message, self._tools.offload)
        if not content.files:
            return ()
        config = self._tools.config().attachments
        refused = frozenset(each.lower().lstrip(".") for each in config.refuse_types)
        junk = frozenset(each.lower().lstrip(".") for each in config.junk_types)
        findings: list[Finding] = []
        for file in content.files:
            findings.extend(self._look(file, refused, junk))
            if len(findings) >= 10:
                break
        return findings[:10]

    def _look(self, file: AttachedFile, refused: Collection[str], junk: Collection[str]) -> Iterator[Finding]:
        for name in (file.name, *file.inner):
            ending = ending_of(name)
            where = "" if name is file.name else f" in {_shown(file.name)}"
            if ending in refused:
                reply = Reply(550, "5.7.1", f"Files of the type .{ending[:20]} are not accepted here")
                yield Finding(self.name, f"{_shown(name)}{where}: refused type", verdict=Verdict.REJECT, reply=reply)
                return
            if ending in junk:
                double = " behind a harmless ending" if _is_double(name) else ""
                reason = f"{_shown(name)}{where}: a type that does harm{double}"
                yield Finding(self.name, reason, _SCORE, Verdict.JUNK, inputs={"ending": ending[:20]})
                return
            if any(letter in name for letter in _TURNED):
                yield Finding(self.name, f"{_shown(name)}{where}: its name is turned around", _SCORE, Verdict.JUNK)
                return
        if file.kind in _PROGRAMS:
            yield Finding(self.name, f"{_shown(file.name)}: a program ({file.kind})", _SCORE, Verdict.JUNK)
        elif (wanted := _KINDS.get(ending_of(file.name))) and file.kind and file.kind not in wanted:
            yield Finding(self.name, f"{_shown(file.name)}: is {file.kind} by its content", 1.5)
        if file.encrypted:
            yield Finding(self.name, f"{_shown(file.name)}: an encrypted archive", 1.5)


def ending_of(name: str) -> str:
    """The last ending of a file name, lower case without its dot; "" when it has none."""
    _, dot, ending = name.rstrip(_UNSEEN).lower().rpartition(".")
    return ending.strip(_UNSEEN) if dot else ""


def _is_double(name: str) -> bool:
    """`invoice.pdf.exe`"""
    return ending_of(name.rstrip(_UNSEEN).rpartition(".")[0]) in _DOCUMENTS


def _shown(name: str) -> str:
    """For people: short, without characters that change what they see."""
    return "".join(letter for letter in name if letter.isprintable())[:80] or "a file without a name"
