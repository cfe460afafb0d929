"""Out-of-office answers by dates: what an owner says once, kept as a small script that runs beside the account's own one.

The first line of the script holds what was said, so that it can be shown and changed; the rest is made from it and is plain Sieve
with `vacation`, so every rule about whom to answer holds.
"""

from __future__ import annotations

from datetime import date

import msgspec
from msgspec import Struct

from mailbox_app.errors import StoreError

_MARK = b"# "
MAX_TEXT = 20_000
MAX_SUBJECT = 500


class Away(Struct, frozen=True, kw_only=True):
    """When, and what those hear who write meanwhile."""

    text: str
    subject: str = ""
    """Empty: `Auto: ` and the subject that is answered."""
    first_day: date | None = None
    """None: from now on."""
    last_day: date | None = None
    """None: until it is taken back."""
    every_days: int = 7
    """The same person hears it again after so many days."""


def compose(away: Away) -> bytes:
    """The script."""
    if away.first_day and away.last_day and away.last_day < away.first_day:
        raise StoreError("script.bad_dates", "the last day is before the first one")
    tests = []
    for day, order in ((away.first_day, "ge"), (away.last_day, "le")):
        if day is not None:
            tests.append(f'currentdate :value "{order}" "date" "{day.isoformat()}"')
    subject = f" :subject {_quoted(away.subject)}" if away.subject else ""
    action = f"vacation :days {away.every_days}{subject} {_quoted(away.text)};"
    rule = f"if allof (true, {', '.join(tests)}) {{ {action} }}" if tests else action
    head = _MARK + msgspec.json.encode(away)
    return head + f'\r\nrequire ["vacation", "date", "relational"];\r\n{rule}\r\n'.encode("utf-8", "replace")


def read(script: bytes) -> Away | None:
    """What was said; None when somebody else wrote the script."""
    line = script.partition(b"\r\n")[0]
    if not line.startswith(_MARK):
        return None
    try:
        return msgspec.json.decode(line[len(_MARK) :], type=Away)
    except msgspec.MsgspecError:
        return None


def _quoted(text: str) -> str:
    text = text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
