"""Unwanted mail of the pretend day: robots at home, firms that set everything up well, forgers, viruses, guessers of names."""

from __future__ import annotations

from datetime import timedelta

from world import DENIED, OUR_DOMAIN, PEOPLE, SERVER_RETRIES, Domain, World

_MAKERS = ("sven", "office", "info", "maria", "peter", "jo")


def bots(world: World, count: int) -> None:
    """Spam from homes: a pool's host name, no SPF, a made-up or borrowed sender; a fifth comes back, three fifths are on a list."""
    dice = world.dice
    for number in range(count + count // 3):
        source = f"{world.network()}.{dice.randrange(2, 250)}"
        if dice.random() < 0.8:
            world.host(source, f"dyn-{source.replace('.', '-')}.pool.isp.example")
        if dice.random() < 0.6:
            world.block(source)
        name = f"made-up{dice.randrange(10**6)}.example" if dice.random() < 0.7 else f"firm{dice.randrange(10)}.example"
        origin = Domain(name, [source], host=f"[{source}]" if dice.random() < 0.5 else f"pc{number}")
        retries = SERVER_RETRIES[: dice.choice((2, 5))] if dice.random() < 0.2 else ()
        earlier = number >= count
        world.write(
            "spam from homes", origin, honest=False, words="junk", retries=retries, topic=dice.randrange(12),
            link=DENIED if dice.random() < 0.2 else f"cheap{dice.randrange(40)}.spam.example",
            earlier=earlier, at=world.before() if earlier else None,
        )  # fmt: skip


def snowshoe(world: World, count: int) -> None:
    """Spam by firms that set everything up well and change names every day: only what it says tells."""
    dice = world.dice
    firms = [world.domain(f"deals{number}.example", hosts=8) for number in range(max(2, count // 25))]
    old = [world.domain(f"bargains{number}.example", hosts=8) for number in range(8)]
    for number in range(count + count // 2):
        firm = dice.choice(firms if number < count else old)
        world.write(
            "snowshoe spam", firm, honest=False, words="junk", link=f"go.{firm.name}",
            earlier=number >= count, at=None if number < count else world.before(),
        )  # fmt: skip


def mimics(world: World, count: int) -> None:
    """The same in the form and manner of a newsletter nobody asked for."""
    dice = world.dice
    firms = [world.domain(f"club{number}.example", hosts=4, dmarc="none") for number in range(max(2, count // 20))]
    old = [world.domain(f"society{number}.example", hosts=4, dmarc="none") for number in range(6)]
    for number in range(count + count // 2):
        firm = dice.choice(firms if number < count else old)
        world.write(
            "spam like a newsletter", firm, honest=False, words="mimic", link=f"www.{firm.name}/read",
            author=f"news@{firm.name}", sender=f"bounce-{dice.getrandbits(32):x}@{firm.name}",
            extra=(("List-Unsubscribe", f"<https://www.{firm.name}/u>"), ("List-Id", f"<news.{firm.name}>")),
            earlier=number >= count, at=None if number < count else world.before(),
        )  # fmt: skip


def forged(world: World, count: int) -> None:
    """In the name of a bank that says reject, a shop that says quarantine or one of ours; with such a name before another
    address; from a domain that looks like ours."""
    dice = world.dice
    bank, shop = world.domain("bank.example", dmarc="reject"), world.domain("shop.example", dmarc="quarantine")
    twin = world.domain("examp1e-org.example")
    for number in range(count + count // 3):
        source = f"{world.network()}.9"
        world.host(source, f"vps{number}.host.example")
        origin = Domain(f"host{number}.example", [source], host=f"vps{number}.host.example")
        earlier = number >= count
        facts: dict[str, object] = {"honest": False, "earlier": earlier, "at": world.before() if earlier else None}
        match number % 3:
            case 0:
                author = (f"service@{bank.name}", f"service@{shop.name}", PEOPLE[0])[number // 3 % 3]
                world.write("forged address", origin, author=author, words=dice.choice(("junk", "plain")), **facts)  # type: ignore[arg-type]
            case 1:
                name = dice.choice((f"service@{bank.name}", f'"{PEOPLE[1]}"', "Bank Example"))
                world.write("forged name", origin, name=name, words="junk", link="pay.example", **facts)  # type: ignore[arg-type]
            case _:
                world.write("domain like ours", twin, author=f"alice@{twin.name}", words="junk", **facts)  # type: ignore[arg-type]


def viruses(world: World, count: int) -> None:
    """Programs in an attachment, from homes that come back."""
    for number in range(count):
        source = f"{world.network()}.77"
        origin = Domain(f"made-up-too{number}.example", [source], host=f"pc{number}")
        world.write("virus", origin, honest=False, attachment=f"invoice{number}.pdf.exe")


def dictionary(world: World, count: int) -> None:
    """Tries of many names from several networks at once."""
    dice = world.dice
    for number in range(max(1, count // 150)):
        sources = [f"{world.network()}.66" for _ in range(3)]
        at = world.moment()
        for step in range(50 * len(sources)):
            name = f"{dice.choice(('john', 'mary', 'sales', 'test', 'web'))}{number}x{step}@{OUR_DOMAIN}"
            origin = Domain("attack.example", [sources[step % len(sources)]], host="attack")
            world.write(
                "dictionary attack", origin, honest=False, to=name, at=at + timedelta(seconds=step), retries=(), words="junk"
            )  # fmt: skip
