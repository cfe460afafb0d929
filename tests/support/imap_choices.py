"""What random IMAP sessions choose from, and small helpers for what they say and hear."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import Any

from tests.support.imap_client import Done
from tests.support.imap_wire import numbers

LABELS = tuple(f"$Label{number}" for number in range(1, 6))
ITEMS = (
    "FLAGS", "ENVELOPE", "INTERNALDATE", "BODY", "BODYSTRUCTURE", "RFC822.SIZE", "BODY.PEEK[]", "BODY.PEEK[HEADER]", "EMAILID",
    "BODY.PEEK[TEXT]<0.100>", "BODY.PEEK[HEADER.FIELDS (Subject Message-ID)]", "BODY.PEEK[1]", "PREVIEW", "SAVEDATE",
    "BINARY.PEEK[1]", "THREADID",
)  # fmt: skip
BOXES = (*tuple(f"box{number}" for number in range(5)), "box0/a", "box0/b")
WORDS = ("zebra", "quagga", "horse", "okapi", "tapir")
_serial = count(1)


def letter(random: Random, run: str) -> bytes:
    """A message that says who it is."""
    number = next(_serial)
    body = f"{random.choice(WORDS)} line\r\n" * random.choice((1, 3, 30, 30, 2000))
    head = f"From: Bob <bob{number % 7}@example.net>\r\nTo: alice@example.org\r\nSubject: {random.choice(WORDS)} {number % 9}\r\n"
    head += (
        f"Date: Mon, {number % 27 + 1} Nov 2026 10:{number % 60:02}:00 +0000\r\nMessage-ID: <{number}.{run}@stress>\r\n"
    )
    if number > 1 and number % 3 == 0:
        head += f"References: <{random.randrange(1, number)}.{run}@stress>\r\n"
    if number % 5 == 0:
        parts = "".join(f"--b\r\nContent-Type: text/{kind}\r\n\r\n{body}\r\n" for kind in ("plain", "html"))
        head += "MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n"
        body = parts + "--b--\r\n"
    return f"{head}\r\n{body}".encode()


def ranges(found: list[int]) -> str:
    if len(found) > 2 and found[-1] - found[0] == len(found) - 1:
        return f"{found[0]}:{found[-1]}"
    return ",".join(map(str, found))


def combined(flags: frozenset[str], sign: str, names: list[str]) -> frozenset[str]:
    if sign:
        return flags | set(names) if sign == "+" else flags - set(names)
    return frozenset(names)


def fits(text: str, last: int) -> bool:
    return max(numbers(text.split(" ")[1])) <= last


def numbers_found(done: Done) -> set[int]:
    found: set[int] = set()
    for answer in done.results:
        if answer.word == "SEARCH":
            found.update(int(each) for each in answer.values if isinstance(each, str))
        elif answer.word == "ESEARCH" and "ALL" in answer.values:
            found.update(numbers(answer.values[answer.values.index("ALL") + 1]))
    return found


def flat(values: list[Any]) -> list[int]:
    found: list[int] = []
    for each in values:
        if isinstance(each, list):
            found += flat(each)
        elif isinstance(each, str) and each.isdecimal():
            found.append(int(each))
    return found
