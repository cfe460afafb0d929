"""Puts found messages in order for SORT and THREAD, from what the index stored of them. Blocks; stepped in a thread."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mailbox_app.ids import Uid
from mailbox_app.proto.base_subject import base_subject
from mailbox_app.proto.dates import header_seconds
from mailbox_app.proto.header import decode_words, unfold
from mailbox_app.proto.imap.search_parser import Criterion, SortKey, ThreadAlgorithm
from mailbox_app.proto.imap.stored_envelope import StoredAddress, read_date_and_subject, read_envelope
from mailbox_app.proto.imap.threads import (
    Forest,
    Threadable,
    by_references,
    first_message_id,
    gently_sorted,
    message_ids,
    ordered_subject,
)
from mailbox_app.proto.text.collation import collation_key
from mailbox_app.services.imap.bodies import BodyReader
from mailbox_app.services.imap.selected import Selected
from mailbox_app.store.interface import Account

_BATCH = 500
# A line end and the first letters first: the engine looks at the beginnings of lines only.
_FIELDS = re.compile(
    rb"\n(?=[MmIiRrSsDd])(?i:(message-id|in-reply-to|references|subject|date))[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)"
)
_WITHOUT_ADDRESSES = frozenset({SortKey.ARRIVAL, SortKey.SIZE, SortKey.DATE, SortKey.SUBJECT})


def _batches(
    mail: Callable[[], Account], view: Selected, uids: Sequence[int], columns: Sequence[str]
) -> Iterator[list[Any]]:
    for start in range(0, len(uids), _BATCH):
        batch = [Uid(uid) for uid in uids[start : start + _BATCH]]
        yield list(mail().rendered(view.mailbox_id, batch, columns))


def sent_seconds(date: bytes | None, internal_seconds: int) -> int:
    """The sent date in UTC; without a readable one the internal date. RFC 5256 2.2"""
    seconds = header_seconds(date) if date else None
    return internal_seconds if seconds is None else seconds


class Sorting:
    """SORT: step `run` to its end, then `order` has the places in `uids` as they are to be told."""

    def __init__(self, mail: Callable[[], Account], view: Selected, criteria: Sequence[Criterion]) -> None:
        self._mail = mail
        self._view = view
        self._criteria = criteria
        self.done_count = 0
        self.order: Sequence[int] = ()

    def run(self, uids: Sequence[int]) -> Iterator[bool]:
        """`uids` ascending; messages that are gone are left out."""
        keys = [criterion.key for criterion in self._criteria]
        columns = ["internal_seconds", "size_bytes"]
        if any(key not in (SortKey.ARRIVAL, SortKey.SIZE) for key in keys):
            columns.append("envelope")
        places = {uid: place for place, uid in enumerate(uids)}
        found: list[int] = []
        values: list[list[Any]] = [[] for _ in keys]
        for rows in _batches(self._mail, self._view, uids, columns):
            for row in rows:
                found.append(places[row[0]])
                for column, value in zip(values, _sort_values(keys, row), strict=True):
                    column.append(value)
            self.done_count += len(rows)
            yield True
        order: Sequence[int] = range(len(found))
        # from the last criterion to the first: sorting keeps the order of equals
        for criterion, column in reversed(list(zip(self._criteria, values, strict=True))):
            order = gently_sorted(order, column.__getitem__, reverse=criterion.reverse)
            yield True
        self.order = [found[index] for index in order]


def _sort_values(keys: Sequence[SortKey], row: Sequence[Any]) -> Iterator[Any]:
    internal_seconds, size_bytes = row[1], row[2]
    envelope = None
    date = subject = None
    if len(row) > 3:
        if _WITHOUT_ADDRESSES.issuperset(keys):
            date, subject = read_date_and_subject(row[3])
        else:
            envelope = read_envelope(row[3])
            date, subject = envelope.date, envelope.subject
    for key in keys:
        match key:
            case SortKey.ARRIVAL:
                yield internal_seconds
            case SortKey.SIZE:
                yield size_bytes
            case SortKey.DATE:
                yield sent_seconds(date, internal_seconds)
            case SortKey.SUBJECT:
                yield collation_key(base_subject(subject)[0]) if subject else ""
            case SortKey.FROM | SortKey.TO | SortKey.CC:
                assert envelope is not None
                yield _mailbox(getattr(envelope, f"first_{key.value.lower()}"))
            case SortKey.DISPLAYFROM | SortKey.DISPLAYTO:
                assert envelope is not None
                yield _display(envelope.first_from if key is SortKey.DISPLAYFROM else envelope.first_to)


def _mailbox(address: StoredAddress | None) -> str:
    return collation_key(decode_words(address.mailbox)) if address and address.mailbox else ""


def _display(address: StoredAddress | None) -> str:
    """RFC 5957 3."""
    if address is None:
        return ""
    name = decode_words(address.name) if address.name else ""
    if not name and address.mailbox is not None:
        name = decode_words(address.mailbox if address.host is None else b"%b@%b" % (address.mailbox, address.host))
    return collation_key(name)


class Threading:
    """THREAD: step `run` to its end, then `forest` has the threads of the messages at `places` in `uids`."""

    def __init__(self, mail: Callable[[], Account], view: Selected, algorithm: ThreadAlgorithm) -> None:
        self._mail = mail
        self._view = view
        self._algorithm = algorithm
        self.done_count = 0
        self.forest = Forest(0, (), {})
        self.places: Sequence[int] = ()

    def run(self, uids: Sequence[int]) -> Iterator[bool]:
        """`uids` ascending; messages that are gone are left out."""
        by_header = self._algorithm is ThreadAlgorithm.REFERENCES
        reader = BodyReader(self._mail(), self._view.mailbox_id)
        where = {uid: place for place, uid in enumerate(uids)}
        places: list[int] = []
        messages: list[Threadable] = []
        subjects = _Subjects()
        columns = ("internal_seconds", "header" if by_header else "envelope")
        for rows in _batches(self._mail, self._view, uids, columns):
            for uid, seconds, data in rows:
                places.append(where[uid])
                if by_header:
                    messages.append(_threadable(data or reader.read_header(uid), seconds, subjects))
                else:
                    date, subject = read_date_and_subject(data)
                    messages.append(Threadable(sent_seconds(date, seconds), *subjects[subject or b""]))
            self.done_count += len(rows)
            yield True
        self.forest = by_references(messages) if by_header else ordered_subject(messages)
        self.places = places


class _Subjects(dict[bytes, tuple[str, bool]]):
    """(collation key of the base subject, is a reply) by subject; the messages of a thread have few different ones."""

    def __missing__(self, subject: bytes) -> tuple[str, bool]:
        base, is_reply = base_subject(subject)
        known = self[subject] = (collation_key(base), is_reply)
        return known


def _threadable(header: bytes, internal_seconds: int, subjects: _Subjects) -> Threadable:
    fields: dict[bytes, bytes] = {}
    for name, value in _FIELDS.findall(b"\n" + header):
        fields.setdefault(name.lower(), value)
    get = fields.get
    references = tuple(
        message_ids(get(b"references", b""))
    )  # no list: tuples of bytes cost the garbage collector nothing
    if not references:
        parent = first_message_id(get(b"in-reply-to", b""))
        references = () if parent is None else (parent,)
    key, is_reply = subjects[get(b"subject", b"")]
    date = get(b"date")
    return Threadable(
        sent_seconds(unfold(date) if date else None, internal_seconds),
        key,
        is_reply,
        first_message_id(get(b"message-id", b"")),
        references,
    )
