from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.accounts.model import Account, AccountState, Alias, AliasKind, DomainRule, Resolved
from mailbox_app.accounts.routing import members, resolve
from mailbox_app.ids import AccountId

AT = datetime(2026, 1, 5, tzinfo=UTC)
ADDRESSES = [f"{name}@example.org" for name in "abcdefgh"]


class Fake:
    """Aliases between eight addresses of one domain; the last two are accounts."""

    separators = "+"
    hostname = "mail.example.net"

    def __init__(self, aliases: dict[str, list[str]]) -> None:
        self.aliases = aliases
        self.accounts = {
            address: Account(AccountId(number), address, AccountState.ACTIVE, 0, AT)
            for number, address in enumerate(ADDRESSES[-2:], 1)
        }
        self.asked = 0

    def rule_of(self, name: str) -> DomainRule | None:
        return DomainRule() if name == "example.org" else None

    def is_removed(self, address: str) -> bool:
        return False

    def account_at(self, address: str) -> Account | None:
        self.asked += 1
        return self.accounts.get(address)

    def alias_at(self, address: str) -> Alias | None:
        return Alias(address, self.aliases[address], AT) if address in self.aliases else None

    def first_account(self, domain: str | None) -> Account | None:
        return None

    def oldest_domain(self) -> str | None:
        return "example.org"


@given(
    st.dictionaries(
        st.sampled_from([*ADDRESSES[:6], "@example.org"]),
        st.lists(st.sampled_from([*ADDRESSES, "x@elsewhere.net", "ghost+y@example.org"]), min_size=1, max_size=8),
    ),
    st.sampled_from(ADDRESSES),
)
def test_any_graph_of_aliases_ends_and_visits_each_address_once(aliases: dict[str, list[str]], start: str) -> None:
    source = Fake(aliases)
    found = resolve(source, start)
    assert source.asked <= 2 * (len(ADDRESSES) + 2)
    assert len({account.address for account in found.accounts}) == len(found.accounts) <= 2
    assert list(found.outside) in ([], ["x@elsewhere.net"])


@given(st.dictionaries(st.sampled_from(ADDRESSES[:6]), st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=4)))
def test_an_account_is_reached_exactly_when_a_way_leads_to_it(aliases: dict[str, list[str]]) -> None:
    reachable, waiting = {"a@example.org"}, ["a@example.org"]
    while waiting:
        for target in aliases.get(waiting.pop(), []):
            if target not in reachable:
                reachable.add(target)
                waiting.append(target)
    found = resolve(Fake(aliases), "A@example.org")
    assert {account.address for account in found.accounts} == reachable & set(ADDRESSES[-2:])


def test_one_address_never_stands_for_more_than_a_thousand() -> None:
    targets = [f"n{number}@elsewhere.net" for number in range(400)]
    aliases = {address: [f"{index}{target}" for target in targets] for index, address in enumerate(ADDRESSES[:6])}
    aliases["a@example.org"] += ADDRESSES[1:6]
    assert len(resolve(Fake(aliases), "a@example.org").outside) <= 1400


class World(Fake):
    """Two domains, the second standing for the first, aliases of every kind."""

    def __init__(self, *aliases: Alias, separators: str | None = None, removed: str = "") -> None:
        super().__init__({})
        self.kinds = {alias.address: alias for alias in aliases}
        self.own_separators = separators
        self.removed = removed

    def rule_of(self, name: str) -> DomainRule | None:
        rules = {
            "example.org": DomainRule(separators=self.own_separators),
            "example.net": DomainRule(alias_of="example.org"),
        }
        return rules.get(name)

    def is_removed(self, address: str) -> bool:
        return address == self.removed

    def alias_at(self, address: str) -> Alias | None:
        return self.kinds.get(address)

    def first_account(self, domain: str | None) -> Account | None:
        return self.accounts["g@example.org"]


def addresses(found: Resolved) -> list[str]:
    return [account.address for account in found.accounts]


@pytest.mark.parametrize("address", ["g@example.org", "G@EXAMPLE.net", "g+News@example.net"])
def test_a_domain_stands_for_another(address: str) -> None:
    found = resolve(World(), address)
    assert (addresses(found), found.canonical) == (["g@example.org"], "g@example.org")


@pytest.mark.parametrize(
    ("separators", "address", "detail"),
    [
        (None, "g+News@example.org", "News"),
        ("+-", "g-a+B@example.org", "a+B"),
        ("-", "g-News@example.org", "News"),
        ("=", "g==x@example.org", "=x"),
    ],
)
def test_the_detail_is_told_in_the_senders_case(separators: str | None, address: str, detail: str) -> None:
    found = resolve(World(separators=separators), address)
    assert (addresses(found), found.detail, found.canonical) == (["g@example.org"], detail, "g@example.org")


@pytest.mark.parametrize(
    ("separators", "address"), [("", "g+x@example.org"), ("-", "g+x@example.org"), (None, "+g@example.org")]
)
def test_without_its_separator_there_is_no_detail(separators: str | None, address: str) -> None:
    assert not resolve(World(separators=separators), address).is_known


def test_the_longest_name_wins() -> None:
    alias = Alias("g-team@example.org", ("h@example.org",), AT)
    assert addresses(resolve(World(alias, separators="-"), "g-team-x@example.org")) == ["h@example.org"]
    assert addresses(resolve(World(alias, separators="-"), "g-other@example.org")) == ["g@example.org"]


def test_no_catch_all_takes_what_was_meant_for_a_disabled_alias_or_a_removed_account() -> None:
    catch_all = Alias("@example.org", ("h@example.org",), AT)
    off = Alias("info@example.org", ("g@example.org",), AT, enabled=False)
    world = World(catch_all, off, removed="old@example.org")
    assert resolve(world, "info@example.org").is_disabled
    assert not resolve(world, "info@example.org").is_known
    assert not resolve(world, "old+x@example.org").is_known
    assert addresses(resolve(world, "anything@example.org")) == ["h@example.org"]


@pytest.mark.parametrize(
    "address",
    ["postmaster", "Postmaster@example.org", "abuse@example.net", "postmaster+x@example.org", "postmaster@mail.example.net",
     "abuse@MAIL.example.net", "mailer-daemon@mail.example.net"],
)  # fmt: skip
def test_postmaster_and_abuse_always_exist(address: str) -> None:
    off = Alias("postmaster@example.org", ("h@example.org",), AT, enabled=False)
    assert addresses(resolve(World(off), address)) == ["g@example.org"]


def test_other_names_at_the_servers_own_name_are_not_ours() -> None:
    assert not resolve(World(), "g@mail.example.net").is_local_domain


def test_a_list_is_not_followed_but_told_and_its_bounces_reach_the_owner() -> None:
    inner = Alias("in@example.org", ("h@example.org", "x@elsewhere.net"), AT, AliasKind.LIST)
    outer = Alias("dev@example.org", ("g@example.org", "in@example.org"), AT, AliasKind.LIST, owner="h@example.org")
    world = World(inner, outer, Alias("all@example.org", ("dev@example.org",), AT))
    found = resolve(world, "all@example.org")
    assert ([alias.address for alias in found.lists], addresses(found), found.outside) == (["dev@example.org"], [], ())
    everybody = members(world, outer)
    assert (addresses(everybody), everybody.outside) == (["g@example.org", "h@example.org"], ("x@elsewhere.net",))
    assert addresses(resolve(world, "dev-bounces@example.org")) == ["h@example.org"]
    assert addresses(resolve(world, "in-owner@example.org")) == ["g@example.org"]
    assert not resolve(world, "all-bounces@example.org").is_known


def test_who_may_send_as_an_alias() -> None:
    shared = Alias("info@example.org", ("g@example.org",), AT)
    closed = Alias("news@example.org", ("g@example.org",), AT, members_may_send=False)
    dev = Alias("dev@example.org", ("g@example.org",), AT, AliasKind.LIST)
    world = World(shared, closed, dev)
    assert addresses(resolve(world, "info@example.org", sending=True)) == ["g@example.org"]
    for address in ("news@example.org", "dev@example.org"):
        assert not resolve(world, address, sending=True).is_known


NAMES = [*ADDRESSES, "a@example.net", "g+x@example.net", "x@elsewhere.net", "a-bounces@example.org", "@example.org"]
KINDS = st.builds(
    Alias,
    st.sampled_from([*ADDRESSES[:6], "@example.org"]),
    st.lists(st.sampled_from(NAMES[:-1]), min_size=1, max_size=5).map(tuple),
    st.just(AT),
    kind=st.sampled_from(AliasKind),
    enabled=st.booleans(),
    members_may_send=st.booleans(),
    owner=st.sampled_from(["", "g@example.org", "a@example.org", "o@elsewhere.net"]),
)


@given(st.lists(KINDS, max_size=7), st.sampled_from(NAMES), st.sampled_from([None, "", "+", "+-."]))
def test_aliases_of_every_kind_end_and_senders_are_some_of_the_readers(
    aliases: list[Alias], address: str, separators: str | None
) -> None:
    world = World(*aliases, separators=separators)
    found = resolve(world, address)
    assert world.asked < 400
    assert all(alias.enabled and alias.is_list for alias in found.lists)
    assert not (found.is_disabled and found.is_known)
    assert set(found.outside) <= {"x@elsewhere.net", "o@elsewhere.net"}
    assert set(addresses(resolve(world, address, sending=True))) <= set(addresses(found))
    for alias in found.lists:
        everybody = members(world, alias)
        assert everybody.lists == ()
        assert set(addresses(everybody)) <= set(world.accounts)
