"""The pretend day's world: DNS records, networks, people, and what is delivered; `honest.py` and `unwanted.py` fill it.

The addresses are only looked up in the zone that is made here; nothing ever leaves the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from letters import Language, letter

from mailbox_app.accounts.dkim_keys import key_pair
from mailbox_app.mailauth.dkim_sign import SigningKey
from tests.support.dns import Zone

OUR_DOMAIN = "example.org"
PEOPLE = tuple(f"{name}@{OUR_DOMAIN}" for name in (
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "karl", "laura",
))  # fmt: skip
NEWCOMER = f"newcomer@{OUR_DOMAIN}"
"""Comes on the day itself: nothing was ever learnt from this account."""
SERVER_RETRIES = (6, 15, 35, 65, 125, 245, 485)
"""Minutes after the first try at which a mail server comes back."""
SCHEDULES = (SERVER_RETRIES, (5, 10, 20, 40, 80, 160, 320), (15, 30, 60, 120, 240, 480), (10, 40, 100, 220, 460))
BLOCK_LIST, DEAD_LIST = "bl.lists.example", "dead.lists.example"
"""One lists a part of the robots and one honest pool; the other answers everything with an error code."""
DENIED = "known-bad.example"
"""A domain that the administrator denies in links."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message of the day."""

    kind: str
    honest: bool
    at: datetime
    sender: str
    recipients: Sequence[str]
    content: bytes
    helo: str
    sources: Sequence[str]
    """Client addresses; each try takes the next one."""
    retries: Sequence[float] = SERVER_RETRIES
    """Minutes; empty: it tries once."""
    senders: Sequence[str] = ()
    """Another envelope sender at each try, in turn."""
    brand: str = ""
    """Whose newsletter it is: some people throw some of them into Junk."""


@dataclass(slots=True)
class Domain:
    """A domain of somebody."""

    name: str
    sources: Sequence[str]
    spf: bool = True
    dkim: bool = True
    ptr: bool = True
    dmarc: str = ""
    key: SigningKey | None = None
    host: str = ""


@dataclass(slots=True)
class World:
    """Everything there is, from one seed."""

    dice: Random
    day: datetime
    zone: Zone = field(default_factory=dict)
    deliveries: list[Delivery] = field(default_factory=list)
    earlier: list[Delivery] = field(default_factory=list)
    """Of the two weeks before: what the server knows people from."""
    keys: tuple[bytes, str] = field(default_factory=lambda: key_pair("ed25519"))
    """One signing key for everybody."""
    language: Language = field(init=False)
    _network: int = 0

    def __post_init__(self) -> None:
        self.language = Language(self.dice)
        for zone in (BLOCK_LIST, DEAD_LIST):
            self.zone[f"2.0.0.127.{zone}", "A"] = ["127.0.0.2"]

    def network(self) -> str:
        """The first three numbers of a /24 that nobody has yet."""
        self._network += 1
        return f"{11 + self._network // 62_500}.{self._network // 250 % 250}.{self._network % 250}"

    def block(self, source: str) -> None:
        """Put a client on the block list."""
        self.zone[f"{_backwards(source)}.{BLOCK_LIST}", "A"] = ["127.0.0.2"]

    def confuse(self, source: str) -> None:
        """The other list answers about this client that the question is not welcome."""
        self.zone[f"{_backwards(source)}.{DEAD_LIST}", "A"] = ["127.255.255.254"]

    def before(self) -> datetime:
        """Some time of the two weeks before."""
        return self.moment() - timedelta(days=self.dice.randrange(1, 14))

    def domain(self, name: str, *, hosts: int = 1, spread: bool = False, **facts: object) -> Domain:
        """Make a domain and publish its records. `spread`: each host in a network of its own."""
        network = self.network()
        sources = [f"{self.network() if spread else network}.{10 + number}" for number in range(hosts)]
        made = Domain(name, sources, **facts)  # type: ignore[arg-type]
        made.host = f"mail.{name}"
        if made.ptr:
            for number, source in enumerate(sources):
                self.host(source, f"mail{number or ''}.{name}")
        if made.spf:
            self.zone[name, "TXT"] = ["v=spf1 " + " ".join(f"ip4:{source}" for source in sources) + " -all"]
        if made.dkim:
            made.key = SigningKey(name, "s1", "ed25519", self.keys[0])
            self.zone[f"s1._domainkey.{name}", "TXT"] = [self.keys[1]]
        if made.dmarc:
            self.zone[f"_dmarc.{name}", "TXT"] = [f"v=DMARC1; p={made.dmarc}"]
        self.zone[name, "MX"] = [f"10 mail.{name}."]
        self.zone.setdefault((f"mail.{name}", "A"), [sources[0]])
        return made

    def host(self, source: str, name: str) -> None:
        """A client address with a confirmed name."""
        self.zone[f"{_backwards(source)}.in-addr.arpa", "PTR"] = [f"{name}."]
        self.zone[name, "A"] = [source]

    def moment(self) -> datetime:
        """Some time of the day, mostly by daylight."""
        hour = min(23.9, max(0.0, self.dice.gauss(13, 5)))
        return self.day + timedelta(hours=hour)

    def someone(self) -> str:
        """One of ours; the first ones get more mail."""
        return PEOPLE[min(len(PEOPLE) - 1, int(self.dice.expovariate(1 / 3.5)))]

    def write(
        self,
        kind: str,
        origin: Domain,
        *,
        honest: bool = True,
        author: str = "",
        sender: str | None = None,
        to: str = "",
        at: datetime | None = None,
        words: str = "plain",
        sources: Sequence[str] = (),
        retries: Sequence[float] | None = None,
        signed: bool = True,
        earlier: bool = False,
        topic: int | None = None,
        senders: Sequence[str] = (),
        brand: str = "",
        **letter_facts: Any,
    ) -> None:
        """One letter by a domain's server."""
        dice = self.dice
        author = author or f"{dice.choice(('info', 'maria', 'jo', 'office', 'peter', 'sven'))}@{origin.name}"
        to, at = to or self.someone(), at or self.moment()
        topic = sum(origin.name.encode()) if topic is None else topic
        content = letter(
            dice, self.language, at, kind=words, topic=topic, author=author, to=to,
            key=origin.key if signed else None, **letter_facts,
        )  # fmt: skip
        chosen = list(sources or origin.sources)
        dice.shuffle(chosen)
        envelope = author if sender is None else sender
        into = self.earlier if earlier else self.deliveries
        retries = dice.choice(SCHEDULES) if retries is None else retries
        into.append(Delivery(kind, honest, at, envelope, [to], content, origin.host, chosen, retries, senders, brand))


def _backwards(source: str) -> str:
    return ".".join(reversed(source.split(".")))
