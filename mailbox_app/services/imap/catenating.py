"""What the URLs of CATENATE name: parts of messages this session may read, copied in pieces. RFC 4469, RFC 5550."""

from __future__ import annotations

from functools import partial
from typing import BinaryIO, Protocol

from mailbox_app.errors import ProtocolError, StoreError
from mailbox_app.ids import Uid
from mailbox_app.proto.imap import response
from mailbox_app.proto.imap.url import MessageUrl, parse_url
from mailbox_app.proto.mime import PartTable
from mailbox_app.services.imap.bodies import BodyReader, CutShort, Section, find_section
from mailbox_app.services.imap.namespaces import locate
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.session import Session


class Sink(Protocol):
    """What takes the bytes."""

    size: int

    async def add(self, data: bytes) -> None:
        """The next bytes."""
        ...


class UrlSource:
    """Finds and copies what URLs name."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def copy(self, text: bytes, sink: Sink, limit_bytes: int) -> None:
        """Append it to the sink; NO [BADURL] when it names nothing, NO [TOOBIG] beyond the limit."""
        session = self._session
        try:
            url = parse_url(text)
        except ProtocolError as error:
            raise _bad_url(text) from error
        try:
            opened, section = await session.offload(self._find, url)
        except (LookupError, Refusal) as error:
            raise _bad_url(text) from error
        except StoreError as error:
            if error.temporary:
                raise
            raise _bad_url(text) from error
        with opened:
            if sink.size + section.size > limit_bytes:
                raise Refusal("Message too large", "TOOBIG")
            pieces = section.pieces()
            step = partial(next, pieces, b"")
            try:
                while piece := await session.offload(step):
                    await sink.add(piece)
            except CutShort as error:
                raise StoreError("store.failed", "a message cannot be read now", temporary=True) from error

    def _find(self, url: MessageUrl) -> tuple[BinaryIO, Section]:
        """The open file and what of it; blocks. LookupError when there is none."""
        session = self._session
        self._check_server(url)
        if url.mailbox is None:
            if session.selected is None:
                raise LookupError
            ref, mailbox_id, uidvalidity = session.view.ref, session.view.mailbox_id, session.view.uidvalidity
        else:
            name = "INBOX" if url.mailbox.upper() == "INBOX" else url.mailbox
            located = locate(session, name, "r")
            info = session.service.deps.store.account(located.ref).mailbox(located.name)
            ref, mailbox_id, uidvalidity = located.ref, info.mailbox_id, info.uidvalidity
        if url.uidvalidity not in (None, uidvalidity):
            raise LookupError
        account = session.service.deps.store.account(ref)
        row = next(iter(account.rendered(mailbox_id, [Uid(url.uid)], ["parts"])), None)
        opened = BodyReader(account, mailbox_id).open(Uid(url.uid)) if row is not None else None
        if row is None or opened is None:
            raise LookupError
        table = PartTable.decode(row[1])  # type: ignore[arg-type]
        section = find_section(opened.fileno(), url.section, table)
        if section is None:
            opened.close()
            raise LookupError
        return opened, section

    def _check_server(self, url: MessageUrl) -> None:
        """Only this server, only who is logged in."""
        account = self._session.account
        assert account is not None
        if url.host is not None and url.host != self._session.service.config.server.hostname.lower():
            raise LookupError
        if url.user is not None and url.user.lower() not in (account.address, account.address.partition("@")[0]):
            raise LookupError


def _bad_url(text: bytes) -> Refusal:
    shown = response.text(text.decode("ascii", "replace")).replace("]", "?")
    return Refusal("No such URL", f"BADURL {shown}")
