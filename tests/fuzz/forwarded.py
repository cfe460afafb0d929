"""Fuzz targets of addresses that lead on: rewritten senders and domain names in other letters."""

from __future__ import annotations

from mailbox_app.mailqueue.srs import SenderRewriting, SrsError, is_rewritten
from mailbox_app.proto.domain_names import a_labels, u_labels
from tests.fuzz.target import Target

_NOW = 1_800_000_000.0
_OURS = SenderRewriting(b"fuzz" * 8)


def sender(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        restored = _OURS.restore(text, _NOW)
    except SrsError:
        restored = ""
    assert not restored, "a forged sender was taken"
    written = _OURS.rewrite(text, "ours.example", _NOW)
    if written is None:
        return
    localpart, _, domain = written.rpartition("@")
    assert domain == "ours.example"
    assert len(localpart.encode()) <= 64
    assert is_rewritten(localpart)
    assert _OURS.restore(localpart, _NOW)
    assert not any(character in localpart for character in "\r\n\0 <>@")


def domain_name(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    written = a_labels(text)
    if written is not None:
        assert written.isascii()
        shown = u_labels(written)
        assert shown == written or a_labels(shown) == written


TARGETS = (
    Target(
        "mail",
        "rewritten senders",
        sender,
        (
            b"SRS0=AAAAAA=JM=remote.example=carol",
            b"SRS1=AAAAAA=first.example==HHHH=JM=a.b=c@second.example",
            b"srs0+x=y@one.example",
            b"carol@remote.example",
        ),
    ),
    Target(
        "mail",
        "domain names",
        domain_name,
        ("bücher.example".encode(), b"xn--bcher-kva.example", "例え。テスト".encode(), b"xn--\x80.b", "ẞß.ς".encode()),
    ),
)
