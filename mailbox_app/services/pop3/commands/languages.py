"""UTF8 and LANG. RFC 6856.

Messages are sent as they are stored in either mode: a client that never said UTF8 gets the same bytes that every other
server has always given it, and no message is kept from it.
"""

from __future__ import annotations

from mailbox_app.services.pop3.command import Command, State, Takes
from mailbox_app.services.pop3.replies import Refusal
from mailbox_app.services.pop3.session import Session

_LANGUAGES = {"en": "English", "i-default": "Default language"}


async def utf8(session: Session, argument: bytes) -> str:
    """RFC 6856 2.1: native UTF-8 from here on; names and passwords may have it anyway."""
    return "UTF8 enabled"


async def lang(session: Session, argument: bytes) -> str | None:
    """RFC 6856 3.2: the languages there are, or the choice of one."""
    wanted = argument.strip().decode("ascii", "replace").lower()
    if not wanted:
        lines = ["+OK Language listing follows", *(f"{tag} {name}" for tag, name in _LANGUAGES.items()), ".", ""]
        session.write("\r\n".join(lines).encode("ascii"))
        return None
    if wanted == "*":  # the server chooses
        return "en Language is English"
    while wanted and wanted not in _LANGUAGES:  # RFC 4647 3.4: en-GB is served with en
        wanted = wanted.rpartition("-")[0]
    if not wanted:
        raise Refusal("No such language")
    return f"{wanted} Language is {_LANGUAGES['en']}"


UTF8 = Command("UTF8", State.AUTHORIZATION, Takes.NOTHING, "RFC 6856 2.1", utf8)
LANG = Command("LANG", State.ANY, Takes.MAYBE, "RFC 6856 3.2", lang)
