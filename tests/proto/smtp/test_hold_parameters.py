"""HOLDFOR and HOLDUNTIL. RFC 4865."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mailbox_app.proto.smtp.commands import parse_mail
from mailbox_app.proto.smtp.replies import Refusal


def test_an_interval_and_a_time() -> None:
    assert parse_mail(b"FROM:<a@b.example> HOLDFOR=86400").hold_for == 86_400
    for text in ("2026-11-23T10:00:00Z", "2026-11-23T12:00:00+02:00", "2026-11-23t10:00:00.000z"):
        assert parse_mail(f"FROM:<a@b.example> HOLDUNTIL={text}".encode()).hold_until == datetime(
            2026, 11, 23, 10, tzinfo=UTC
        )
    assert parse_mail(b"FROM:<a@b.example>").hold_for is None


@pytest.mark.parametrize(
    "given",
    [
        "HOLDFOR", "HOLDFOR=", "HOLDFOR=-1", "HOLDFOR=0", "HOLDFOR=060", "HOLDFOR=1234567890", "HOLDFOR=1h",
        "HOLDUNTIL=tomorrow", "HOLDUNTIL=2026-11-23",
        "HOLDUNTIL=2026-13-01T00:00:00Z", "HOLDUNTIL=2026-11-23T10:00:00", "HOLDUNTIL=0001-01-01T00:00:00+23:59",
        "HOLDUNTIL=9999-12-31T23:59:59-23:59", "HOLDFOR=5 HOLDUNTIL=2026-11-23T10:00:00Z", "HOLDFOR=5 HOLDFOR=6",
    ],
)  # fmt: skip
def test_what_is_no_interval_and_no_time(given: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse_mail(f"FROM:<a@b.example> {given}".encode())
    assert refused.value.reply.code == 501
