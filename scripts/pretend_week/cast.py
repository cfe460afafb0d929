"""Who is in the pretend week: the other servers and what ails them, and the mail of ours that goes to them."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

from peers import DAY, HOUR, Peer, Time, always, busy_until, greylisting, limiting, unknown

from tests.support.dns import Zone

US = "example.org"
ALICE, BOB, NEWS = f"alice@{US}", f"bob@{US}", f"news@{US}"
ACCOUNTS = (ALICE, BOB, NEWS)
WEEK = 7 * DAY
FOR_EVER = 1e12
SILENT_DNS = "nodns.example"
"""Nobody answers for it in DNS during the first day."""
HELD = "held.example"
"""An operator holds all mail for it."""
LATER_SECONDS = 2 * DAY
SECURE_HOST = "mx.secure.example"


@dataclass(frozen=True, slots=True)
class Letter:
    """One message of ours, or one that we pass on when its sender is not ours."""

    name: str
    at: float
    """Seconds since the week began."""
    to: Sequence[str]
    sender: str = ALICE
    notify: str = ""
    require_tls: bool = False
    due_at: float | None = None
    """When its sender wants it to go."""
    is_bulk: bool = False
    shown: bool = True
    """Whether its tries are listed."""

    @property
    def from_at(self) -> float:
        """Since when it could go."""
        return self.at if self.due_at is None else self.due_at


@dataclass(slots=True)
class Cast:
    """Servers by domain, DNS, and letters in the order of time."""

    peers: dict[str, Peer]
    addresses: dict[str, str] = field(default_factory=dict)
    """Domain by the address of its server."""
    zone: Zone = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)

    def address_of(self, domain: str) -> str:
        """Where its server is."""
        return next(address for address, known in self.addresses.items() if known == domain)


def servers(now: Time, bulk_domains: int, tls: ssl.SSLContext) -> Cast:
    """All of them, with their DNS."""
    plans: dict[str, dict[str, object]] = {
        "works.example": {},
        "reports.example": {"extensions": ("PIPELINING", "DSN", "ENHANCEDSTATUSCODES")},
        "grey.example": {"recipient": greylisting(600)},
        "hours.example": {"refuses_until": 3 * HOUR},
        "days.example": {"refuses_until": 6 * DAY},
        "dead.example": {"refuses_until": FOR_EVER},
        "silent.example": {"silent_until": FOR_EVER},
        "stalls.example": {"stalls_at": "MAIL"},
        "picky.example": {"recipient": unknown("nobody@picky.example")},
        "busy.example": {"greeting": busy_until(HOUR)},
        "paced.example": {"greeting": limiting(10, 60)},
        "full.example": {"recipient": always(b"452 4.2.2 mailbox full")},
        "crowd.example": {"refuses_until": FOR_EVER},
        "secure.example": {"tls": tls, "extensions": ("PIPELINING", "REQUIRETLS")},
        SILENT_DNS: {},
        HELD: {},
        **{f"bulk{number}.example": {"thinks_seconds": 1.0} for number in range(bulk_domains)},
    }
    cast = Cast({domain: Peer(f"mx.{domain}", now, **plan) for domain, plan in plans.items()})  # type: ignore[arg-type]
    for number, domain in enumerate(plans):
        address = f"10.{number}.0.1"
        cast.addresses[address] = domain
        cast.zone[domain, "MX"] = [f"10 mx.{domain}."]
        cast.zone[f"mx.{domain}", "A"] = [address]
    cast.zone["null.example", "MX"] = ["0 ."]
    return cast


def letters(bulk_domains: int, bulk_recipients: int, crowd: int) -> list[Letter]:
    """The mail of the week."""
    found = [
        Letter("to a server that works", 60, ["ann@works.example"]),
        Letter("with a receipt, to a server without reports", 90, ["ann@works.example"], notify="SUCCESS"),
        Letter("with a receipt, to a server with reports", 90, ["ann@reports.example"], notify="SUCCESS,DELAY"),
        Letter("greylisted for ten minutes", 120, ["ann@grey.example"]),
        Letter("two of three live there", 150, [f"{name}@picky.example" for name in ("ann", "nobody", "carl")]),
        Letter("to a domain without mail", 180, ["ann@null.example"]),
        Letter("DNS is silent for a day", 240, [f"ann@{SILENT_DNS}"]),
        Letter("held by a rule", 260, [f"ann@{HELD}"]),
        Letter("for later", 300, ["ann@works.example"], due_at=LATER_SECONDS),
        Letter("for later, to a dead server", 300, ["late@dead.example"], due_at=DAY),
        Letter("must stay encrypted, and can", 320, ["ann@secure.example"], require_tls=True),
        Letter("must stay encrypted, and cannot", 330, ["ann@works.example"], require_tls=True),
        Letter("down for six days", 400, ["ann@days.example"]),
        Letter("dead for ever", 420, ["ann@dead.example"]),
        Letter("dead, and nobody wants to know", 430, ["ben@dead.example"], notify="NEVER"),
        Letter("dead, told of failure alone", 440, ["cat@dead.example"], notify="FAILURE"),
        Letter("dead, told of delay alone", 450, ["dan@dead.example"], notify="DELAY"),
        Letter("dead, from outside", 460, ["eve@dead.example"], sender="far@works.example"),
        Letter("dead, a report of somebody", 470, ["fay@dead.example"], sender=""),
        Letter("its report cannot arrive", 475, ["nobody@picky.example"], sender="gone@dead.example"),
        Letter("silent for ever", 480, ["ann@silent.example"]),
        Letter("stalls in the middle", 500, ["ann@stalls.example"]),
    ]
    found += [
        Letter(f"a full mailbox, {number}", 600 + 11 * number, [f"full{number}@full.example"]) for number in range(3)
    ]
    found += [Letter(f"down for three hours, {number}", 700 + number, [f"ann{number}@hours.example"], shown=number < 3)
              for number in range(20)]  # fmt: skip
    found += [
        Letter(f"limited, {number}", 800 + number, [f"ann{number}@paced.example"], shown=False) for number in range(40)
    ]
    found += [Letter(f"in a crowd, {number}", 900 + 240 * number, [f"ann{number}@crowd.example"], sender=BOB, shown=False)
              for number in range(crowd)]  # fmt: skip
    found += [Letter(f"busy for an hour, {number}", 200 + number, [f"ann{number}@busy.example"], shown=number < 2)
              for number in range(8)]  # fmt: skip
    found.append(Letter("its host is passed over all week", 6 * HOUR, ["patient@crowd.example"]))
    found += _bulk(HOUR, bulk_domains, bulk_recipients)
    found += [Letter(f"a person beside the bulk, {number}", HOUR + 1 + number, [f"ann@bulk{number}.example"])
              for number in range(min(5, bulk_domains))]  # fmt: skip
    return sorted(found, key=lambda letter: letter.at)


def _bulk(at: float, domains: int, recipients: int) -> list[Letter]:
    """A run, each message to a hundred."""
    everybody = [f"reader{number}@bulk{number % domains}.example" for number in range(recipients)]
    return [
        Letter(f"bulk, {start // 100}", at, everybody[start : start + 100], sender=NEWS, is_bulk=True, shown=False)
        for start in range(0, recipients, 100)
    ]
