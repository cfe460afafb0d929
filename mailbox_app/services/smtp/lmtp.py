"""LMTP: mail from another mail server that stands in front of this one. RFC 2033.

The same sessions as on port 25 but for three things: LHLO in the place of EHLO, one answer for each accepted recipient at the
end of content, and a peer that is trusted: it has greylisted, limited and checked what it passes on, and it keeps a message
for those recipients who are told 4xx.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.address import parse_address_list
from mailbox_app.proto.authres import parse_authres
from mailbox_app.proto.header import Header
from mailbox_app.proto.smtp.replies import Refusal, Reply
from mailbox_app.services.smtp import hello

if TYPE_CHECKING:
    from mailbox_app.services.smtp.session import SmtpSession


async def lhlo(session: SmtpSession, argument: bytes) -> bytes:
    """LHLO, which there is only here, as EHLO and HELO are only elsewhere. RFC 2033 4.1."""
    if session.kind != "lmtp":
        raise Refusal(500, "5.5.1", "Command not recognized", reason="syntax")
    return hello.extended(session, argument)


def answer_each(session: SmtpSession, taken: Reply, replies: Mapping[str, Reply]) -> bytes:
    """The answers to a content that was handed on, in the order of RCPT, each naming its recipient. RFC 2033 4.2."""
    session.answers_due = 1
    by_address = {address.lower(): reply for address, reply in replies.items()}
    return b"".join(
        _naming(by_address.get(address.lower(), taken), address).encode() for address in session.transaction.accepted
    )


def believed_author(header: Header, authserv_id: str) -> str:
    """The From address when the server in front says that DMARC passed; only its topmost field counts. RFC 8601 5."""
    if not authserv_id:
        return ""
    for value in header.all(b"authentication-results"):
        service, methods = parse_authres(value)
        if service == authserv_id.lower().rstrip("."):
            passed = any(method.name == "dmarc" and method.result == "pass" for method in methods)
            return _author(header) if passed else ""
    return ""


def _author(header: Header) -> str:
    try:
        authors = parse_address_list(header.first(b"from") or b"")
    except ProtocolError:
        return ""
    if len(authors) != 1 or not authors[0].domain or not authors[0].localpart:
        return ""
    return b"@".join((authors[0].localpart, authors[0].domain)).decode("utf-8", "replace")


def _naming(reply: Reply, address: str) -> Reply:
    return reply if "\n" in reply.text else reply._replace(text=f"<{address}> {reply.text}")
