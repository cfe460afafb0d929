from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.accounts.model import Account, AccountState, Alias, DomainRule
from mailbox_app.accounts.routing import resolve
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
