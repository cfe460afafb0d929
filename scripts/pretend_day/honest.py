"""Honest senders of the pretend day: well kept and old-fashioned servers, services, lists, pools that come back from elsewhere."""

from __future__ import annotations

from world import NEWCOMER, Domain, World

_SLOW = ((30, 60, 120, 240), (60, 180, 420))


def known(world: World, count: int) -> None:
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
        for number in range(max(10, count // 9))
    ]
    for origin in domains:
        if not (origin.spf or origin.dkim):
            origin.dmarc = ""
            world.zone.pop((f"_dmarc.{origin.name}", "TXT"), None)
        for _ in range(4):
            world.write("known sender", origin, earlier=True, at=world.before())
    for _ in range(count):
        world.write("known sender", dice.choice(domains))


def moved(world: World, count: int) -> None:
    """Known senders whose server has a new address today; half of them forgot their SPF record."""
    dice = world.dice
    for number in range(count):
        origin = world.domain(f"mover{number}.example", dkim=dice.random() < 0.7)
        for _ in range(3):
            world.write("known sender, new address", origin, earlier=True, at=world.before())
        new = f"{world.network()}.10"
        if dice.random() < 0.9:
            world.host(new, f"mail.{origin.name}")
        if number % 2:
            world.zone[origin.name, "TXT"] = [f"v=spf1 ip4:{new} ip4:{origin.sources[0]} ~all"]
        world.write("known sender, new address", origin, sources=[new])


def newsletters(world: World, count: int) -> None:
    """Shops and editors by mailing services: the bounce address and the pool are the service's, the signature the author's."""
    dice = world.dice
    services = [world.domain(f"esp{number}.example", hosts=12, spread=number == 0) for number in range(4)]
    brands = [world.domain(f"brand{number}.example", dmarc="none") for number in range(60)]
    for number in range(count + count // 3):
        service, brand = services[number % 4], brands[number % 60]
        earlier = number >= count
        world.write(
            "newsletter",
            Domain(brand.name, service.sources, key=brand.key, host=service.host),
            author=f"news@{brand.name}",
            sender=f"bounce-{dice.getrandbits(32):x}@{service.name}",
            words="news",
            link=f"www.{brand.name}/read",
            extra=(("List-Unsubscribe", f"<https://www.{brand.name}/u>"), ("List-Id", f"<news.{brand.name}>")),
            earlier=earlier,
            at=world.before() if earlier else None,
            brand=brand.name,
        )


def first_timers(world: World, count: int) -> None:
    """Honest strangers: most are set up well, some have SPF or a signature only, some neither, nor a host name of their own."""
    dice = world.dice
    for number in range(count):
        draw = dice.random()
        spf, dkim, ptr = draw < 0.7 or draw > 0.95, draw < 0.55 or 0.7 < draw < 0.85, draw < 0.85
        origin = world.domain(f"stranger{number}.example", spf=spf, dkim=dkim, ptr=ptr)
        world.write(f"stranger: {_named(spf, dkim, ptr)}", origin, topic=dice.randrange(60))


def _named(spf: bool, dkim: bool, ptr: bool) -> str:
    has = [name for name, there in (("SPF", spf), ("DKIM", dkim), ("host name", ptr)) if there]
    return ", ".join(has) or "nothing"


def newcomer(world: World, count: int) -> None:
    """The first mail of a new account, from strangers and newsletters."""
    dice = world.dice
    for number in range(count):
        origin = world.domain(f"welcome{number}.example", dkim=dice.random() < 0.7)
        world.write("to a new account", origin, to=NEWCOMER, words=dice.choice(("plain", "news")))


def login_codes(world: World, count: int) -> None:
    """What must come within minutes; services that send it are set up well."""
    services = [world.domain(f"login{number}.example", hosts=3, dmarc="reject") for number in range(30)]
    for number in range(count):
        origin = services[number % len(services)]
        world.write("login code", origin, author=f"no-reply@{origin.name}")


def pools(world: World, count: int) -> None:
    """Large providers without SPF for their customers' domains, whose retries come from another network each time: at a server's
    pace, slowly, and with another bounce address at each try. One of them is on the block list by mistake."""
    dice = world.dice
    providers = [
        world.domain(f"pool{number}.example", hosts=15, spread=True, spf=False, dkim=False, ptr=number != 9)
        for number in range(10)
    ]
    for source in providers[8].sources:
        world.block(source)
    for number in range(count):
        pool = providers[number % 10]
        author = f"user{number}@customer{number}.example"
        kind = "pool on a block list" if number % 10 == 8 else "pool"
        match number % 3:
            case 0:
                world.write(kind, pool, author=author)
            case 1:
                world.write(f"{kind}, slow", pool, author=author, retries=dice.choice(_SLOW))
            case _:
                senders = [f"bounce-{dice.getrandbits(40):010x}-{step}@customer{number}.example" for step in range(9)]
                world.write(f"{kind}, new sender each try", pool, author=author, senders=senders)


def lists(world: World, count: int) -> None:
    """Discussion lists: the list's server and bounce address, the author's From, a footer that breaks the signature."""
    dice = world.dice
    where = [world.domain(f"lists{number}.example") for number in range(5)]
    authors = [world.domain(f"poster{number}.example", dmarc="none") for number in range(20)]
    for number in range(count + count // 4):
        at, author, earlier = dice.choice(where), dice.choice(authors), number >= count
        world.write(
            "discussion list",
            Domain(at.name, at.sources, key=at.key, host=at.host),
            author=f"someone@{author.name}",
            sender=f"talk-bounces@{at.name}",
            extra=(("List-Id", f"<talk.{at.name}>"), ("Precedence", "list")),
            earlier=earlier,
            at=world.before() if earlier else None,
        )


def forwarded(world: World, count: int) -> None:
    """An old school passes mail on as it came: SPF fails, the signature holds."""
    dice = world.dice
    school = world.domain("alumni.example")
    origins = [world.domain(f"friend{number}.example", dmarc=dice.choice(("none", "reject"))) for number in range(20)]
    for _ in range(count):
        origin = dice.choice(origins)
        world.write("forwarded", Domain(origin.name, school.sources, key=origin.key, host=school.host))


def reports(world: World, count: int) -> None:
    """Bounces and questions whether an address exists, by honest servers with a null sender."""
    offices = [world.domain(f"postoffice{number}.example", ptr=number % 4 > 0) for number in range(20)]
    for number in range(count):
        origin = offices[number % 20]
        world.write("null sender", origin, sender="", author=f"mailer-daemon@{origin.name}")
