"""What CAPABILITY says: only what works in the state the session is in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mailbox_app.services.imap.command import AnyCommand

if TYPE_CHECKING:
    from mailbox_app.services.imap.session import Session

BASE_VERBS = frozenset(
    {"CAPABILITY", "NOOP", "LOGOUT", "STARTTLS", "AUTHENTICATE", "LOGIN", "SELECT", "EXAMINE", "CREATE", "DELETE", "RENAME",
     "SUBSCRIBE", "UNSUBSCRIBE", "LIST", "LSUB", "STATUS", "APPEND", "CHECK", "CLOSE", "EXPUNGE", "SEARCH", "FETCH", "STORE",
     "COPY"}
)  # fmt: skip
"""Commands of RFC 3501: a capability that one of these brings along can be hidden, the command cannot."""
_ALWAYS = ("IMAP4rev1", "IMAP4rev2", "LITERAL+", "ID", "ENABLE", "SASL-IR")
_LOGGED_IN = (
    "CHILDREN",
    "SPECIAL-USE",
    "UIDPLUS",
    "ESEARCH",
    "CONDSTORE",
    "QRESYNC",
    "UIDONLY",
    "INPROGRESS",
    "LIST-STATUS",
    "LIST-MYRIGHTS",
    "LIST-METADATA",
    "BINARY",
    "CATENATE",
    "URL-PARTIAL",
    "UTF8=ACCEPT",
    "OBJECTID",
    "PREVIEW",
    "SAVEDATE",
    "SEARCHRES",
    "WITHIN",
    "PARTIAL",
    "SORT=DISPLAY",
    "ESORT",
    "THREAD=ORDEREDSUBJECT",
    "I18NLEVEL=1",
)
"""Extensions that are no command of their own."""


def capability_text(commands: Sequence[AnyCommand], session: Session, *, require_tls: bool) -> str:
    """The words, separated by spaces."""
    words = list(_ALWAYS)
    if session.account is not None:
        words += _LOGGED_IN
        words += [row.capability for row in commands if row.capability and not _is_pointless(row, session)]
        if session.service.deps.sieve_url:
            words.append(f"IMAPSIEVE={session.service.deps.sieve_url}")  # RFC 6785 2.1
        # Last, since aioimaplib takes the bracket behind a code's last word for a part of it. RFC 7889 2
        words.append(f"APPENDLIMIT={session.service.config.limits.max_message_bytes}")
    else:
        if not session.is_tls:
            words.append("STARTTLS")
        if session.is_tls or not require_tls:
            words += [f"AUTH={name}" for name in session.service.deps.sasl.mechanisms(session.channel)]
        else:
            words.append("LOGINDISABLED")  # RFC 9051 6.2.3
    return " ".join(word for word in dict.fromkeys(words) if not session.is_hidden(word))


def _is_pointless(row: AnyCommand, session: Session) -> bool:
    """COMPRESS once it is on. RFC 4978 4"""
    return row.verb == "COMPRESS" and session.is_compressed


def hidden_capabilities(rules: Sequence[str], client: str, address: str) -> frozenset[str]:
    """What the configuration's rules keep from a client of this name, or from this account, in upper case."""
    hidden: set[str] = set()
    for rule in rules:
        who, _, names = rule.partition(":")
        who = who.strip().casefold()
        if "@" in who:
            fits = address == who or (who.startswith("@") and address.endswith(who))
        else:
            fits = who == "*" or who in client.casefold()
        if fits:
            hidden.update(names.upper().split())
    return frozenset(hidden)
