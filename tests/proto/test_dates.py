from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.dates import (
    format_date,
    format_internal_date,
    header_seconds,
    local_midnight,
    parse_date,
    parse_internal_date,
)

zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1970, 1, 2), datetime(2199, 1, 1), timezones=zones).map(  # noqa: DTZ001
    lambda at: at.replace(microsecond=0)
)


@given(at=moments)
def test_header_dates_read_back(at):
    assert parse_date(format_date(at)) == at
    assert parse_date(format_datetime(at).encode()) == at


def test_the_form_of_a_header_date():
    assert format_date(datetime(2026, 1, 5, 10, 0, tzinfo=UTC)) == b"Mon, 05 Jan 2026 10:00:00 +0000"
    eastern = timezone(timedelta(hours=-3, minutes=-30))
    assert format_date(datetime(2026, 1, 5, 10, 0, tzinfo=eastern)) == b"Mon, 05 Jan 2026 10:00:00 -0330"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"5 Jan 2026 10:00 GMT", (2026, 1, 5, 10, 0, 0)),
        (b"Mon, 5 Jan 26 10:00:07 EST", (2026, 1, 5, 15, 0, 7)),
        (b"Mon,5 January 99 10:00 +0100 (CET)", (1999, 1, 5, 9, 0, 0)),
        (b"  Monday, 05-Jan-2026 10:00:60 Z", (2026, 1, 5, 10, 0, 59)),
        (b"5 Jan 126 1 : 2 : 3 +0000", (2026, 1, 5, 1, 2, 3)),
        (b"Mon, 05 Jan 2026 10:00:00 -99:99", (2026, 1, 6, 9, 59, 0)),
    ],
)
def test_dates_as_strangers_write_them(value, expected):
    assert parse_date(value) == datetime(*expected, tzinfo=UTC)


@pytest.mark.parametrize(
    "value", [b"", b"today", b"32 Jan 2026 10:00", b"5 Foo 2026 10:00", b"5 Jan 2026", b"5 Jan 0000 1:1", b"\xff"]
)
def test_what_is_no_date_is_none(value):
    assert parse_date(value) is None


@given(value=st.binary(max_size=60))
def test_any_bytes_are_a_date_or_none(value):
    parse_date(value)


@given(seconds=st.integers(0, 7_000_000_000))
def test_internal_dates_read_back(seconds):
    assert parse_internal_date(format_internal_date(seconds)) == seconds


def test_the_form_of_an_internal_date():
    assert format_internal_date(1_767_607_200) == b'"05-Jan-2026 10:00:00 +0000"'
    assert parse_internal_date(b'" 5-Jan-2026 10:00:00 +0130"') == 1_767_607_200 - 5_400
    assert parse_internal_date(b"05-jan-2026 10:00:00 -0130") == 1_767_607_200 + 5_400


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"5-Jan-2026 10:00:00 +0000",
        b"31-Feb-2026 10:00:00 +0000",
        b"05-Foo-2026 10:00:00 +0000",
        b"05-Jan-2026 25:00:00 +0000",
    ],
)
def test_internal_dates_are_read_strictly(value):
    with pytest.raises(ProtocolError):
        parse_internal_date(value)


@given(moments)
def test_seconds_of_a_header_date_are_those_of_the_date(at: datetime) -> None:
    assert header_seconds(format_date(at)) == int(at.timestamp())


@given(st.binary(max_size=40))
def test_seconds_of_no_date(value: bytes) -> None:
    moment = parse_date(value)
    assert header_seconds(value) == (None if moment is None else int(moment.timestamp()))


@pytest.fixture
def helsinki(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "EET-2EEST,M3.5.0/3,M10.5.0/4")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("helsinki")
def test_internal_dates_and_days_are_those_of_this_machine():
    winter = parse_internal_date(b'"25-Mar-2007 00:30:00 +0200"')
    assert format_internal_date(winter) == b'"25-Mar-2007 00:30:00 +0200"'
    assert format_internal_date(winter + 6 * 3600) == b'"25-Mar-2007 07:30:00 +0300"'
    assert local_midnight(date(2007, 3, 25)) == winter - 1800
    assert local_midnight(date(2007, 3, 26)) == winter - 1800 + 23 * 3600
