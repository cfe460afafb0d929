"""The header field that tells people and later stages what the policy made of a message.

`X-Mailbox-Verdict: junk; score=6.5 required=5.0;` and each check with its score and reason in parentheses, folded. Reasons may come
from strangers: whatever could end the field or add to it is replaced. Bounded to some 2 KB.
"""

from __future__ import annotations

import re

from mailbox_app.ids import AccountId
from mailbox_app.policy.verdict import Judgement, Verdict
from mailbox_app.proto.header import Header

NAME = "X-Mailbox-Verdict"
KEY = NAME.lower().encode()
_MAX_FINDINGS = 20
_REASON_CHARACTERS = 100
_LINE_CHARACTERS = 76
_UNSAFE = re.compile(r"[^ !#-'*-\[\]-~]|[;,]")
_READ = re.compile(rb"(accept|junk);\s*score=(-?\d{1,6}(?:\.\d{1,3})?)\s")


def compose_verdict(judgement: Judgement, account_id: AccountId | None = None) -> bytes:
    """The whole field with its CRLF, as it is for all recipients or for the only one."""
    verdict = "junk" if judgement.is_junk(account_id) else "accept"
    lines = [f"{NAME}: {verdict}; score={judgement.score(account_id):g} required={judgement.junk_score:g};"]
    words: list[str] = []
    for finding in judgement.findings:
        if finding.account_id not in (None, account_id):
            continue
        if len(words) == _MAX_FINDINGS:
            words.append("...")
            break
        reason = _UNSAFE.sub("?", finding.reason[:_REASON_CHARACTERS])
        weight = "advisory" if finding.advisory else f"{finding.score:g}"
        words.append(f"{_UNSAFE.sub('?', finding.check)}={weight} ({reason})")
    line = "\tchecks=" + ("" if words else "none")
    for number, word in enumerate(words):
        piece = word + ("," if number + 1 < len(words) else "")
        if number and len(line) + 1 + len(piece) > _LINE_CHARACTERS:
            lines.append(line)
            line = "\t" + piece
        else:
            line += (" " if number else "") + piece
    lines.append(line)
    return ("\r\n".join(lines) + "\r\n").encode("ascii", "replace")


def read_verdict(header: Header) -> tuple[Verdict, float] | None:
    """What our own field of a stored message says; None without one. Only to be asked of messages that came in through us."""
    value = header.first(KEY)
    match = _READ.match(value + b" ") if value else None
    if match is None:
        return None
    return (Verdict.JUNK if match[1] == b"junk" else Verdict.ACCEPT), float(match[2])
