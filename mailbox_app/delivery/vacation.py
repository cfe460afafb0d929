"""Out-of-office answers: to whom one may be sent, and what it says. RFC 5230, RFC 3834.

The answer goes to the envelope sender and never to what a From field claims; never to one that SPF calls forged, to lists, bulk
mail, programs, ourselves or nobody; and only for mail that names the account in its header. Why there is none is told in a few
words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.address import parse_address, parse_address_list
from mailbox_app.proto.authres import Method
from mailbox_app.proto.header import Header, decode_words
from mailbox_app.proto.sieve.actions import Vacation

_LIST_FIELDS = (
    b"list-id", b"list-help", b"list-subscribe", b"list-unsubscribe", b"list-post", b"list-owner", b"list-archive",
)  # fmt: skip
_PROGRAMS = re.compile(
    r"(?:mailer-daemon|listserv|majordomo|postmaster|bounces?|no-?reply|do-?not-?reply|.*-request|owner-.*|.*-owner"
    r"|.*-bounces?|bounces?[-+].*|srs[01][=+-].*)\Z",
    re.IGNORECASE | re.DOTALL,
)  # RFC 5230 4.6 names the first ones
_ADDRESSED = (b"to", b"cc", b"bcc", b"resent-to", b"resent-cc", b"resent-bcc")
_MAX_ADDRESSES = 500


def why_silent(header: Header) -> str:
    """Why no program may answer a message with this header; empty when one may. RFC 3834 2, RFC 5230 4.6."""
    if any(header.count(name) for name in _LIST_FIELDS):
        return "the message is from a list"
    automatic = (header.first(b"auto-submitted") or b"").split(b";")[0].split(b"(")[0].strip().lower()
    if automatic not in (b"", b"no"):
        return "the message was sent by a program"
    if (header.first(b"precedence") or b"").strip().lower() in (b"bulk", b"list", b"junk"):
        return "the message is bulk mail"
    suppressed = (header.first(b"x-auto-response-suppress") or b"").lower()
    if any(word.strip() in (b"all", b"oof", b"autoreply") for word in suppressed.split(b",")):
        return "the sender wants no automatic answers"
    return ""


def why_not_to(sender: str, owns: Callable[[str], bool]) -> str:
    """Why this envelope sender gets no answer; empty when it may."""
    if not sender:
        return "the message has no sender to answer"
    try:
        address = parse_address(sender)
    except ProtocolError:
        return "the sender's address is not valid"
    if _PROGRAMS.match(address.localpart):
        return "the sender is a program or a list"
    if owns(sender):
        return "the sender is this account"
    return ""


def why_doubtful(results: Sequence[Method]) -> str:
    """Why the sender may be a stranger's victim, by our own results about the message; empty when nothing says so."""
    spf = next((each.result for each in results if each.name == "spf" and _is_of_sender(each)), "")
    if spf in ("fail", "softfail"):
        return f"SPF says {spf}: somebody may have used the sender's name"
    if spf != "pass" and any(each.name == "dmarc" and each.result == "fail" for each in results):
        return "DMARC fails: somebody may have used the sender's name"
    return ""


def _is_of_sender(method: Method) -> bool:
    return any(name == "smtp.mailfrom" for name, _ in method.properties)


def is_addressed(header: Header, own: Collection[str], owns: Callable[[str], bool]) -> bool:
    """Whether the header names the account (one of `own`, lower case) as a recipient. RFC 5230 4.5."""
    count = 0
    for name in _ADDRESSED:
        for value in header.all(name):
            for found in parse_address_list(value):
                if found.localpart is None or not found.domain:
                    continue
                text = f"{found.localpart.decode('utf-8', 'replace')}@{found.domain.decode('utf-8', 'replace')}"
                if text.lower() in own or owns(text):
                    return True
                count += 1
                if count >= _MAX_ADDRESSES:
                    return False
    return False


def subject_of(action: Vacation, header: Header) -> str:
    """What the script says, else `Auto: ` and the subject that is answered. RFC 5230 4.4 and 5.2."""
    if action.subject is not None:
        return decode_words(action.subject.encode("utf-8", "surrogateescape"))  # some write encoded words themselves
    original = decode_words(header.first(b"subject") or b"")
    return f"Auto: {original}" if original else "Automated reply"


def claim_of(action: Vacation, sender: str) -> str:
    """By what it is known who had this answer: the handle and the sender, whose domain is the same in any case."""
    localpart, _, domain = sender.rpartition("@")
    return f"{action.handle}\0{localpart}@{domain.lower()}"
