"""`date` and `currentdate`. RFC 5260."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING

from mailbox_app.proto.dates import format_date, parse_date
from mailbox_app.proto.sieve.machine import Machine, Test
from mailbox_app.proto.sieve.sections import picker
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.words import Extension, Question, Shape, Tag

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler


_ZONE = re.compile(r"([+-])([0-9]{2})([0-9]{2})")
_JULIAN_DAY_OF_ORDINAL = 678_576
"""Modified Julian Day 0 is 17 November 1858."""


def _offset(at: datetime) -> str:
    return at.strftime("%z")[:5] or "+0000"


_PARTS: Mapping[str, Callable[[datetime], str]] = {
    "year": lambda at: f"{at.year:04}",
    "month": lambda at: f"{at.month:02}",
    "day": lambda at: f"{at.day:02}",
    "date": lambda at: f"{at.year:04}-{at.month:02}-{at.day:02}",
    "julian": lambda at: str(at.toordinal() - _JULIAN_DAY_OF_ORDINAL),
    "hour": lambda at: f"{at.hour:02}",
    "minute": lambda at: f"{at.minute:02}",
    "second": lambda at: f"{at.second:02}",
    "time": lambda at: f"{at.hour:02}:{at.minute:02}:{at.second:02}",
    "iso8601": lambda at: f"{at.replace(microsecond=0, tzinfo=None).isoformat()}{_offset(at)[:3]}:{_offset(at)[3:]}",
    "std11": lambda at: format_date(at).decode("ascii"),
    "zone": _offset,
    "weekday": lambda at: str(at.isoweekday() % 7),
}


def _zone(use: Use, compiler: Compiler) -> Callable[[Machine], tzinfo | None]:
    """The zone that a date is told in; None: the local one."""
    given = use.tags.get("zone")
    if given is None:
        return lambda machine: None
    text = compiler.text(given)
    if text.constant is not None and _ZONE.fullmatch(text.constant) is None:
        raise compiler.error(given.position, f'"{text.constant[:20]}" is not a time zone such as "+0100"')

    def zone(machine: Machine) -> tzinfo | None:
        match = _ZONE.fullmatch(text.value(machine))
        if match is None:
            return None
        minutes = min(int(match[2]) * 60 + int(match[3]), 24 * 60 - 1)
        return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))

    return zone


def _compare(use: Use, compiler: Compiler, dates: Callable[[Machine], Sequence[datetime]], index: int) -> Test:
    part, keys = compiler.text(use[index]), compiler.texts(use[index + 1])
    if part.constant is not None and part.constant.lower() not in _PARTS:
        raise compiler.error(use[index].position, f'"{part.constant[:20]}" is not one of {", ".join(_PARTS)}')
    match = compiler.match(use, keys)

    def compare(machine: Machine) -> bool:
        render = _PARTS.get(part.value(machine).lower())
        values = [render(at) for at in dates(machine)] if render is not None else ()
        return match.test(machine, values, keys)

    return compare


def _moved(at: datetime, zone: tzinfo | None) -> datetime:
    try:
        return at.astimezone(zone)
    except (OverflowError, ValueError):  # the first and last day of time
        return at


def _date(use: Use, compiler: Compiler) -> Test:
    name = compiler.text(use[0])
    pick = picker(use, compiler)
    zone = _zone(use, compiler)
    original = "originalzone" in use.tags

    def dates(machine: Machine) -> Sequence[datetime]:
        raw = machine.raw_values(name.value(machine).lower())
        found = []
        for value in (raw if pick is None else pick(raw))[: machine.limits.header_values]:
            machine.spend(1)
            at = parse_date(value.rpartition(b";")[2])  # of Received and the like what follows the last semicolon
            if at is not None:
                found.append(at if original else _moved(at, zone(machine) or machine.context.now.tzinfo))
        return found

    return _compare(use, compiler, dates, 1)


def _currentdate(use: Use, compiler: Compiler) -> Test:
    zone = _zone(use, compiler)

    def dates(machine: Machine) -> Sequence[datetime]:
        wanted = zone(machine)
        now = machine.context.now
        return (now if wanted is None else _moved(now, wanted),)

    return _compare(use, compiler, dates, 0)


_ZONE_TAG = Tag("zone", Shape.STRING, "", "zone")

EXTENSION = Extension(
    capabilities=("date",),
    rfc="RFC 5260",
    questions=(
        Question(
            "date",
            _date,
            (Shape.STRING, Shape.STRING, Shape.STRINGS),
            (_ZONE_TAG, Tag("originalzone", None, "", "zone")),
            matching=True,
            capability="date",
        ),
        Question(
            "currentdate",
            _currentdate,
            (Shape.STRING, Shape.STRINGS),
            (_ZONE_TAG,),
            matching=True,
            capability="date",
        ),
    ),
)
