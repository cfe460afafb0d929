"""Reports that strangers send: containers and XML."""

from __future__ import annotations

from mailbox_app.errors import ProtocolError
from mailbox_app.mailauth.report_destinations import read_destinations
from mailbox_app.proto.dmarc_report import compose
from mailbox_app.proto.dmarc_report_reader import read_report
from mailbox_app.proto.report_container import pack_gzip, unpack
from tests.fuzz.target import Target
from tests.proto.test_dmarc_report import IN_THE_WILD, OLDER, REPORT, zipped

_MOST = 2_000_000


def report(data: bytes) -> None:
    """What could be read is composed and reads back the same."""
    try:
        found = read_report(unpack(data, _MOST))
    except ProtocolError:
        return
    again = read_report([compose(found)])
    assert again.published.domain == found.published.domain
    assert [row.count for row in again.rows] == [row.count for row in found.rows]


def container(data: bytes) -> None:
    """Never more than the bound comes out."""
    size = 0
    try:
        for piece in unpack(data, _MOST):
            assert len(piece) <= 65_536
            size += len(piece)
    except ProtocolError:
        pass
    assert size <= _MOST


def destinations(data: bytes) -> None:
    """An address that can be written into a message, or none."""
    for each in read_destinations([data.decode("utf-8", "replace")]):
        assert each.address.isascii()
        assert each.address.isprintable()
        assert each.address.endswith(f"@{each.host}")


_PACKED = (
    pack_gzip(compose(REPORT)),
    zipped(("x.xml", compose(REPORT))),
    zipped(("d/", b""), ("x.xml", compose(OLDER)), method=0),
)
TARGETS = (
    Target("reports", "DMARC reports", report, (compose(REPORT), compose(OLDER), IN_THE_WILD, *_PACKED)),
    Target("reports", "containers", container, _PACKED),
    Target(
        "reports",
        "destinations",
        destinations,
        (b"mailto:dmarc@example.org!10m", b'mailto:"a b"@x.example?subject=y', b"mailto:a%40b%0d@x.example"),
    ),
)
