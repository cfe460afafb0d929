"""The two date formats of mail: RFC 5322 header dates (read tolerantly) and IMAP's internal date (read strictly)."""

from __future__ import annotations

import re
import time
from datetime import UTC, date, datetime, timedelta, timezone

from mailbox_app.errors import ProtocolError

_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_MONTH_NUMBER = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}
# RFC 5322 4.3: the old zone names; any other name means "no information", which is +0000.
_ZONES = {b"est": -5, b"edt": -4, b"cst": -6, b"cdt": -5, b"mst": -7, b"mdt": -6, b"pst": -8, b"pdt": -7}

_DATE = re.compile(
    rb"\s*+(?:[A-Za-z]{3,9}\.?\s*+,?\s*+)?(\d{1,2})(?:\s++|-)([A-Za-z]{3})[a-z]*+\.?(?:\s++|-),?\s*+(\d{2,4})"
    rb"\s++(\d{1,2})\s*+:\s*+(\d{1,2})(?:\s*+:\s*+(\d{1,2})(?:\.\d{1,9})?)?(?:\s*+(?:([+-])(\d{2}):?(\d{2})|([A-Za-z]{1,5})))?"
)
_USUAL = re.compile(
    rb"(?:[A-Z][a-z]{2}, )?(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) ([+-])(\d{2})(\d{2})(?: \([A-Za-z]{1,5}\))?"
)
_EPOCH_ORDINAL = 719_163
_COMMENT = re.compile(rb"\([^()]{0,200}\)")
_INTERNAL = re.compile(rb'"?([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d{2}):(\d{2}):(\d{2}) ([+-])(\d{2})(\d{2})"?')


def format_date(at: datetime) -> bytes:
    """An RFC 5322 date in the zone of `at`, such as `Mon, 05 Jan 2026 10:00:00 +0000`."""
    offset = at.utcoffset() or timedelta()
    minutes = int(offset.total_seconds()) // 60
    sign = b"-" if minutes < 0 else b"+"
    hours, minutes = divmod(abs(minutes), 60)
    day, month = _DAYS[at.weekday()], _MONTHS[at.month - 1]
    clock = (at.year, at.hour, at.minute, at.second)
    return b"%b, %02d %b %04d %02d:%02d:%02d %b%02d%02d" % (day, at.day, month, *clock, sign, hours, minutes)


def parse_date(value: bytes) -> datetime | None:
    """Read a header date as strangers write it; None when it is no date. The result is aware."""
    if b"(" in value:
        value = _COMMENT.sub(b" ", value[:1_000])
    match = _DATE.match(value)
    if match is None:
        return None
    day, month_name, year_text, hour, minute, second, sign, zone_hours, zone_minutes, zone_name = match.groups()
    year = int(year_text)
    if len(year_text) < 4:  # RFC 5322 4.3: two and three digit years
        year += 2000 if len(year_text) == 2 and year < 50 else 1900
    if sign is not None:
        minutes = min(int(zone_hours) * 60 + int(zone_minutes), 24 * 60 - 1)
        zone = timezone(timedelta(minutes=-minutes if sign == b"-" else minutes))
    else:
        zone = timezone(timedelta(hours=_ZONES.get((zone_name or b"").lower(), 0)))
    try:
        month = _MONTH_NUMBER[month_name.lower()]
        return datetime(year, month, int(day), int(hour), int(minute), min(int(second or 0), 59), tzinfo=zone)
    except (KeyError, ValueError):
        return None


def header_seconds(value: bytes) -> int | None:
    """A header date as seconds since 1970, or None when it is no date; quick for those written as most are."""
    match = _USUAL.fullmatch(value)
    if match is None:
        moment = parse_date(value)
        return None if moment is None else int(moment.timestamp())
    day, month_name, year, hour, minute, second, sign, zone_hours, zone_minutes = match.groups()
    try:
        ordinal = date(int(year), _MONTH_NUMBER[month_name.lower()], int(day)).toordinal()
    except (KeyError, ValueError):
        return None
    if not (int(hour) < 24 and int(minute) < 60):
        return None
    offset = min(int(zone_hours) * 60 + int(zone_minutes), 24 * 60 - 1) * 60
    seconds = (ordinal - _EPOCH_ORDINAL) * 86_400 + int(hour) * 3_600 + int(minute) * 60 + min(int(second), 59)
    return seconds + offset if sign == b"-" else seconds - offset


def format_internal_date(seconds: float) -> bytes:
    """An IMAP date-time with its quotes, in this machine's zone, such as `"05-Jan-2026 10:00:00 +0100"`. RFC 9051 9."""
    at = time.localtime(seconds)
    if at.tm_gmtoff % 60:  # local mean times of the 19th century cannot be written
        at = time.gmtime(seconds)
    sign, (hours, minutes) = (b"-" if at.tm_gmtoff < 0 else b"+"), divmod(abs(at.tm_gmtoff) // 60, 60)
    day = (at[2], _MONTHS[at[1] - 1], at[0], at[3], at[4], at[5])
    return b'"%02d-%b-%04d %02d:%02d:%02d %b%02d%02d"' % (*day, sign, hours, minutes)


def local_midnight(day: date) -> int:
    """The second since 1970 at which a day begins in this machine's zone."""
    try:
        return int(time.mktime((day.year, day.month, day.day, 0, 0, 0, 0, 0, -1)))
    except OverflowError:
        return (day.toordinal() - _EPOCH_ORDINAL) * 86_400


def parse_internal_date(value: bytes) -> int:
    """Read an IMAP date-time, with or without its quotes, as seconds since 1970; raises `ProtocolError`."""
    match = _INTERNAL.fullmatch(value)
    if match is None:
        raise ProtocolError("date.bad_internal_date", "The date is not of the form dd-Mon-yyyy hh:mm:ss +zzzz.")
    day, month_name, year, hour, minute, second, sign, zone_hours, zone_minutes = match.groups()
    minutes = int(zone_hours) * 60 + int(zone_minutes)
    try:
        month = _MONTH_NUMBER[month_name.lower()]
        at = datetime(int(year), month, int(day), int(hour), int(minute), min(int(second), 59), tzinfo=UTC)
    except (KeyError, ValueError) as error:
        raise ProtocolError("date.bad_internal_date", "There is no such date.") from error
    return int(at.timestamp()) - (-minutes if sign == b"-" else minutes) * 60
