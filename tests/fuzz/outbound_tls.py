"""What other domains publish about encryption: MTA-STS records and policies, TLSA records, certificates, answers of web servers."""

from __future__ import annotations

from datetime import UTC, datetime

from mailbox_app.errors import ProtocolError
from mailbox_app.net.https import HttpsTrouble, _is_complete, _read
from mailbox_app.outbound.tls.certificate_paths import leads_to
from mailbox_app.proto.mta_sts_policy import MAX_AGE_SECONDS, StsMode, parse_policy, parse_record
from mailbox_app.proto.tlsa import Tlsa, parse_tlsa, public_key_info, usable_records
from tests.fuzz.target import Target
from tests.support.certificates import certify

_CA = certify("Authority", is_ca=True)
_LEAF = certify("mx.there.example", _CA)
_NOW = datetime(2026, 11, 23, tzinfo=UTC)
_POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"


def policy(data: bytes) -> None:
    """What is taken reads back as itself."""
    try:
        found = parse_policy(data)
    except ProtocolError:
        return
    assert 0 <= found.max_age_seconds <= MAX_AGE_SECONDS
    assert found.patterns or found.mode is StsMode.NONE
    assert parse_policy("\n".join(found.lines()).encode()) == found
    for pattern in found.patterns:
        assert found.names(pattern.replace("*", "a"))
        assert pattern.isascii()


def record(data: bytes) -> None:
    """An id is letters and digits, and one of two records is none."""
    text = data.decode("latin-1")
    found = parse_record([text])
    assert found is None or (found.isalnum() and len(found) <= 32)
    assert found is None or parse_record([text, text]) is None
    parse_record(text.split("\n"))


def tlsa(data: bytes) -> None:
    """What is read is written the same; what is usable matches nothing it does not speak of."""
    text = data.decode("latin-1")
    for line in text.split("\n"):
        try:
            found = parse_tlsa(line)
        except ProtocolError:
            continue
        assert parse_tlsa(str(found)) == found
    for each in usable_records(text.split("\n")):
        assert each.usage in (2, 3)
        assert not each.matches(b"no certificate")


def certificate(data: bytes) -> None:
    """Damaged certificates lead nowhere and raise nothing."""
    try:
        info = public_key_info(data)
        assert info in data
    except ProtocolError:
        pass
    for selector in (0, 1):
        Tlsa(3, selector, 1, bytes(32)).matches(data)
    if data != _LEAF.der:
        leads_to([data, _CA.der], _CA.der, ["mx.there.example"], _NOW)
    if data != _CA.der:
        assert leads_to([data], _CA.der, ["other.example"], _NOW)


def answer(data: bytes) -> None:
    """An answer is read or refused, within its bound."""
    _is_complete(bytearray(data))
    try:
        found = _read("host", data, 1_000)
    except HttpsTrouble:
        return
    assert len(found.body) <= 1_000


TARGETS = (
    Target("outbound", "MTA-STS policies", policy, (_POLICY, b"version: STSv1\nmode: none\nmax_age: 0", b"mx: a\nmx: *.b\n")),
    Target("outbound", "MTA-STS records", record, (b"v=STSv1; id=20160831085700Z;", b"v=STSv1;id=a\nv=STSv1; id=b", b"v=STSv1")),
    Target("outbound", "TLSA records", tlsa, (b"3 1 1 " + b"ab" * 32, b"2 0 2 " + b"ab cd" * 32, b"3 1 0 00\n255 255 255 0")),
    Target("outbound", "certificates", certificate, (_LEAF.der, _CA.der)),
    Target(
        "outbound",
        "HTTPS answers",
        answer,
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"HTTP/1.0 301 Moved\r\nLocation: x\r\n\r\n",
        ),
    ),
)  # fmt: skip
