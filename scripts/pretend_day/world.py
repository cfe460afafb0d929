"""Who writes on the pretend day: honest and other senders, their DNS records, their networks, how they come back.

Networks are those that documentation and benchmarks may use, so nothing here is anybody's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from letters import letter

from mailbox_app.accounts.dkim_keys import key_pair
from mailbox_app.mailauth.dkim_sign import SigningKey
from tests.support.dns import Zone

OUR_DOMAIN = "example.org"
PEOPLE = tuple(f"{name}@{OUR_DOMAIN}" for name in (
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "karl", "laura",
))  # fmt: skip
SERVER_RETRIES = (6, 15, 35, 65, 125, 245, 485)
"""Minutes after the first try at which a mail server comes back."""


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
    _network: int = 0

    def network(self) -> str:
        """The first three numbers of a /24 that nobody has yet."""
        self._network += 1
        return f"198.{18 + self._network // 250}.{self._network % 250}"

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
        self.zone[".".join(reversed(source.split("."))) + ".in-addr.arpa", "PTR"] = [f"{name}."]
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
        retries: Sequence[float] = SERVER_RETRIES,
        signed: bool = True,
        earlier: bool = False,
        **letter_facts: object,
    ) -> None:
        """One letter by a domain's server."""
        dice = self.dice
        author = author or f"{dice.choice(('info', 'maria', 'jo', 'office', 'peter', 'sven'))}@{origin.name}"
        to, at = to or self.someone(), at or self.moment()
        content = letter(
            dice, at, kind=words, author=author, to=to, key=origin.key if signed else None, **letter_facts  # type: ignore[arg-type]
        )  # fmt: skip
        chosen = list(sources or origin.sources)
        dice.shuffle(chosen)
        envelope = author if sender is None else sender
        into = self.earlier if earlier else self.deliveries
        into.append(Delivery(kind, honest, at, envelope, [to], content, origin.host, chosen, retries))


def build(dice: Random, day: datetime, count: int) -> World:
    """A day with about so many messages."""
    world = World(dice, day)
    for part, share in _PARTS:
        part(world, max(1, round(count * share)))
    world.deliveries.sort(key=lambda each: each.at)
    world.earlier.sort(key=lambda each: each.at)
    return world


def _before(world: World) -> datetime:
    """Some time of the two weeks before."""
    return world.moment() - timedelta(days=world.dice.randrange(1, 14))


def _known(world: World, count: int) -> None:
    """People and firms one has heard from before; some of their servers are old-fashioned."""
    dice = world.dice
    domains = [
        world.domain(
            f"firm{number}.example",
            hosts=dice.choice((1, 1, 2)),
            spf=dice.random() < 0.85,
            dkim=dice.random() < 0.8,
            ptr=dice.random() < 0.95,
            dmarc=dice.choice(("", "", "none", "quarantine", "reject")),
        )
        for number in range(60)
    ]
    for origin in domains:
        if not (origin.spf or origin.dkim):
            origin.dmarc = ""
            world.zone.pop((f"_dmarc.{origin.name}", "TXT"), None)
        for _ in range(4):
            world.write("known sender", origin, earlier=True, at=world.moment() - timedelta(days=dice.randrange(1, 14)))
    for _ in range(count):
        world.write("known sender", dice.choice(domains))


def _newsletters(world: World, count: int) -> None:
    """Shops and editors by mailing services: the bounce address and the pool are the service's, the signature the author's."""
    dice = world.dice
    services = [world.domain(f"esp{number}.example", hosts=12, spread=number == 0) for number in range(3)]
    brands = [world.domain(f"brand{number}.example", dmarc="none") for number in range(40)]
    for number in range(count):
        service, brand = services[number % 3], brands[number % 40]
        world.write(
            "newsletter",
            Domain(brand.name, service.sources, key=brand.key, host=service.host),
            author=f"news@{brand.name}",
            sender=f"bounce-{dice.getrandbits(32):x}@{service.name}",
            words="news",
            link=f"www.{brand.name}/read",
            extra=(("List-Unsubscribe", f"<https://www.{brand.name}/u>"), ("List-Id", f"<news.{brand.name}>")),
            earlier=number < 40,
            at=_before(world) if number < 40 else None,
        )


def _first_timers(world: World, count: int) -> None:
    """Honest strangers: most are set up well, some have no host name of their own, some neither that nor SPF."""
    dice = world.dice
    for number in range(count):
        draw = dice.random()
        well, half = draw < 0.7, draw < 0.85
        origin = world.domain(f"stranger{number}.example", spf=well or dice.random() < 0.3, dkim=well, ptr=half)
        world.write("first-time sender", origin)


def _login_codes(world: World, count: int) -> None:
    """What must come within minutes; services that send it are set up well."""
    services = [world.domain(f"login{number}.example", hosts=3, dmarc="reject") for number in range(30)]
    for number in range(count):
        origin = services[number % len(services)]
        world.write("login code", origin, author=f"no-reply@{origin.name}")


def _pools(world: World, count: int) -> None:
    """A large provider without SPF for its customers' domains, whose retries come from another network each time."""
    for number in range(count):
        pool = world.domain(f"pool{number % 10}.example", hosts=15, spread=True, spf=False, dkim=False)
        world.write("retries from a pool", pool, author=f"user{number}@customer{number}.example")


def _lists(world: World, count: int) -> None:
    """Discussion lists: the list's server and bounce address, the author's From, a footer that breaks the signature."""
    dice = world.dice
    lists = [world.domain(f"lists{number}.example") for number in range(5)]
    authors = [world.domain(f"poster{number}.example", dmarc="none") for number in range(20)]
    for _ in range(count):
        where, author = dice.choice(lists), dice.choice(authors)
        world.write(
            "discussion list",
            Domain(where.name, where.sources, key=where.key, host=where.host),
            author=f"someone@{author.name}",
            sender=f"talk-bounces@{where.name}",
            extra=(("List-Id", f"<talk.{where.name}>"), ("Precedence", "list")),
        )


def _forwarded(world: World, count: int) -> None:
    """An old school passes mail on as it came: SPF fails, the signature holds."""
    dice = world.dice
    school = world.domain("alumni.example")
    origins = [world.domain(f"friend{number}.example", dmarc=dice.choice(("none", "reject"))) for number in range(20)]
    for _ in range(count):
        origin = dice.choice(origins)
        world.write("forwarded", Domain(origin.name, school.sources, key=origin.key, host=school.host))


def _reports(world: World, count: int) -> None:
    """Bounces and questions whether an address exists, by honest servers with a null sender."""
    for number in range(count):
        origin = world.domain(f"postoffice{number % 20}.example")
        world.write("null sender", origin, sender="", author=f"mailer-daemon@{origin.name}")


def _bots(world: World, count: int) -> None:
    """Spam from homes: a pool's host name, no SPF, a made-up sender; a fifth of them comes back."""
    dice = world.dice
    for _ in range(count):
        source = f"{world.network()}.{dice.randrange(2, 250)}"
        world.host(source, f"dyn-{source.replace('.', '-')}.pool.isp.example")
        origin = Domain(f"made-up{dice.randrange(10**6)}.example", [source], host=f"[{source}]")
        retries = SERVER_RETRIES[: dice.choice((2, 5))] if dice.random() < 0.2 else ()
        for earlier in (True, False) if dice.random() < 0.5 else (False,):
            world.write(
                "spam from homes", origin, honest=False, words="junk", link="cheap.spam.example", retries=retries,
                earlier=earlier, at=_before(world) if earlier else None,
            )  # fmt: skip


def _snowshoe(world: World, count: int) -> None:
    """Spam by firms that set everything up well and change names: only what it says tells."""
    dice = world.dice
    firms = [world.domain(f"deals{number}.example", hosts=8) for number in range(max(2, count // 25))]
    old = [world.domain(f"bargains{number}.example", hosts=8) for number in range(4)]
    for number in range(count):
        firm = dice.choice(firms)
        world.write("snowshoe spam", firm, honest=False, words="junk", link=f"go.{firm.name}")
        if number % 2:
            firm = dice.choice(old)
            world.write(
                "snowshoe spam",
                firm,
                honest=False,
                words="junk",
                link=f"go.{firm.name}",
                earlier=True,
                at=_before(world),
            )


def _forged(world: World, count: int) -> None:
    """In the name of a bank that says reject, a shop that says quarantine, or one of ours."""
    dice = world.dice
    bank, shop = world.domain("bank.example", dmarc="reject"), world.domain("shop.example", dmarc="quarantine")
    for number in range(count):
        source = f"{world.network()}.9"
        world.host(source, f"vps{number}.host.example")
        author = (f"service@{bank.name}", f"service@{shop.name}", PEOPLE[0])[number % 3]
        origin = Domain(f"host{number}.example", [source], host=f"vps{number}.host.example")
        world.write("forged sender", origin, honest=False, author=author, words=dice.choice(("junk", "plain")))


def _viruses(world: World, count: int) -> None:
    """Programs in an attachment, from homes that come back."""
    for number in range(count):
        source = f"{world.network()}.77"
        origin = Domain(f"made-up-too{number}.example", [source], host=f"pc{number}")
        world.write("virus", origin, honest=False, attachment=f"invoice{number}.pdf.exe")


def _dictionary(world: World, count: int) -> None:
    """Tries of many names at once."""
    dice = world.dice
    for number in range(max(1, count // 50)):
        source = f"{world.network()}.66"
        at = world.moment()
        for step in range(50):
            name = f"{dice.choice(('john', 'mary', 'sales', 'test', 'web'))}{number}x{step}@{OUR_DOMAIN}"
            origin = Domain("attack.example", [source], host="attack")
            world.write(
                "dictionary attack", origin, honest=False, to=name, at=at + timedelta(seconds=step), retries=(), words="junk"
            )  # fmt: skip


_PARTS: Sequence[tuple[Callable[[World, int], None], float]] = (
    (_known, 0.35), (_newsletters, 0.15), (_first_timers, 0.08), (_login_codes, 0.02), (_pools, 0.02), (_lists, 0.06),
    (_forwarded, 0.04), (_reports, 0.02), (_bots, 0.13), (_snowshoe, 0.06), (_forged, 0.03), (_viruses, 0.01),
    (_dictionary, 0.03),
)  # fmt: skip
"""What the day is made of, in parts of the whole."""
