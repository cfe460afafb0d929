from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mailbox_app.accounts import dkim_keys, memory
from mailbox_app.accounts.directory import SqliteDirectory
from mailbox_app.accounts.model import Account, AccountState
from mailbox_app.errors import AccountError
from tests.support.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def directory(tmp_path: Path, clock: FakeClock) -> Iterator[SqliteDirectory]:
    made = SqliteDirectory(tmp_path / "directory.db", clock)
    made.add_domain("example.org")
    yield made
    made.close()


def add(directory: SqliteDirectory, address: str) -> Account:
    return directory.add_account(address, "hash")


def names(directory: SqliteDirectory, address: str) -> tuple[list[str], list[str]]:
    found = directory.resolve(address)
    return [account.address for account in found.accounts], list(found.outside)


def code_of(error: pytest.ExceptionInfo[AccountError]) -> str:
    return error.value.code


def test_an_account_is_found_in_any_case(directory: SqliteDirectory) -> None:
    add(directory, "Alice@Example.ORG")
    assert names(directory, "aLiCe@eXample.org") == (["alice@example.org"], [])
    assert directory.is_local_domain("EXAMPLE.org.")


def test_an_unknown_address_of_ours_is_local_and_nobody(directory: SqliteDirectory) -> None:
    found = directory.resolve("ghost@example.org")
    assert found.is_local_domain
    assert not found.accounts
    assert not found.outside


def test_another_domain_is_not_ours(directory: SqliteDirectory) -> None:
    assert not directory.resolve("a@elsewhere.net").is_local_domain
    assert not directory.is_local_domain("elsewhere.net")


def test_a_detail_is_ignored_only_when_the_whole_local_part_is_unknown(directory: SqliteDirectory) -> None:
    add(directory, "alice@example.org")
    add(directory, "bob@example.org")
    directory.add_alias("alice+lists@example.org", ["bob@example.org"])
    assert names(directory, "alice+shop@example.org") == (["alice@example.org"], [])
    assert names(directory, "alice+lists@example.org") == (["bob@example.org"], [])


def test_an_alias_leads_here_and_outside_without_duplicates(directory: SqliteDirectory) -> None:
    add(directory, "alice@example.org")
    directory.add_alias("team@example.org", ["alice@example.org", "sales@example.org"])
    directory.add_alias("sales@example.org", ["alice@example.org", "Bob@Elsewhere.net", "bob@elsewhere.net"])
    assert names(directory, "team@example.org") == (["alice@example.org"], ["Bob@elsewhere.net"])


def test_alias_loops_end(directory: SqliteDirectory) -> None:
    add(directory, "alice@example.org")
    directory.add_alias("a@example.org", ["b@example.org"])
    directory.add_alias("b@example.org", ["a@example.org", "alice@example.org"])
    assert names(directory, "a@example.org") == (["alice@example.org"], [])


def test_a_long_chain_of_aliases_is_cut(directory: SqliteDirectory) -> None:
    for number in range(30):
        directory.add_alias(f"a{number}@example.org", [f"a{number + 1}@example.org"])
    add(directory, "a30@example.org")
    assert names(directory, "a0@example.org") == ([], [])
    assert names(directory, "a25@example.org") == (["a30@example.org"], [])


def test_the_catch_all_takes_what_is_left(directory: SqliteDirectory) -> None:
    add(directory, "alice@example.org")
    add(directory, "bob@example.org")
    directory.add_alias("@example.org", ["bob@example.org"])
    assert names(directory, "ghost@example.org") == (["bob@example.org"], [])
    assert names(directory, "alice+x@example.org") == (["alice@example.org"], [])


def test_postmaster_and_abuse_always_resolve(directory: SqliteDirectory) -> None:
    directory.add_domain("second.example")
    add(directory, "alice@example.org")
    assert names(directory, "postmaster@example.org") == (["alice@example.org"], [])
    assert names(directory, "abuse@second.example") == (["alice@example.org"], [])
    add(directory, "carl@second.example")
    assert names(directory, "Abuse@second.example") == (["carl@second.example"], [])
    directory.add_alias("postmaster@second.example", ["ops@elsewhere.net"])
    assert names(directory, "abuse@second.example") == ([], ["ops@elsewhere.net"])
    assert names(directory, "postmaster") == (["alice@example.org"], [])


def test_an_account_may_send_as_itself_and_as_aliases_that_lead_to_it(directory: SqliteDirectory) -> None:
    alice, bob = add(directory, "alice@example.org"), add(directory, "bob@example.org")
    directory.add_alias("info@example.org", ["alice@example.org"])
    assert directory.owns(alice, "Alice+x@example.org")
    assert directory.owns(alice, "info@example.org")
    assert not directory.owns(bob, "info@example.org")
    assert not directory.owns(bob, "bob@elsewhere.net")
    assert not directory.owns(bob, "")


def test_an_address_is_given_away_once(directory: SqliteDirectory) -> None:
    add(directory, "alice@example.org")
    directory.add_alias("info@example.org", ["alice@example.org"])
    for address in ("ALICE@example.org", "info@example.org"):
        with pytest.raises(AccountError) as error:
            add(directory, address)
        assert code_of(error) == "account.exists"
    with pytest.raises(AccountError) as error:
        directory.add_alias("alice@example.org", ["x@elsewhere.net"])
    assert code_of(error) == "account.exists"


def test_an_account_needs_a_domain_of_ours(directory: SqliteDirectory) -> None:
    with pytest.raises(AccountError) as error:
        add(directory, "alice@elsewhere.net")
    assert code_of(error) == "account.no_such_domain"


def test_a_domain_in_use_stays(directory: SqliteDirectory) -> None:
    add(directory, "alice@example.org")
    with pytest.raises(AccountError) as error:
        directory.remove_domain("example.org")
    assert code_of(error) == "account.domain_in_use"
    directory.remove_account("alice@example.org")
    directory.remove_domain("example.org")
    assert not directory.is_local_domain("example.org")


def test_a_removed_account_gets_no_mail_and_no_login_and_comes_back(
    directory: SqliteDirectory, clock: FakeClock
) -> None:
    account = add(directory, "alice@example.org")
    directory.remove_account("alice@example.org")
    assert directory.account("alice@example.org") is None
    assert directory.credential("alice@example.org") is None
    assert not directory.resolve("alice@example.org").accounts
    clock.skip(29 * 86_400)
    assert not directory.expired_removals()
    assert directory.restore_account(account.account_id).account_id == account.account_id
    assert directory.account("alice@example.org") is not None


def test_thirty_days_after_its_removal_an_account_may_be_forgotten(
    directory: SqliteDirectory, clock: FakeClock
) -> None:
    account = add(directory, "alice@example.org")
    directory.remove_account("alice@example.org")
    clock.skip(30 * 86_400)
    assert [entry.account.account_id for entry in directory.expired_removals()] == [account.account_id]


def test_ids_are_never_used_twice(directory: SqliteDirectory) -> None:
    first = add(directory, "alice@example.org")
    directory.remove_account("alice@example.org")
    directory.forget_account(first.account_id)
    assert add(directory, "alice@example.org").account_id > first.account_id


def test_an_account_comes_back_as_disabled_as_it_went(directory: SqliteDirectory) -> None:
    account = directory.add_account("carol@example.org", "hash")
    directory.set_state(account.address, AccountState.DISABLED)
    directory.remove_account(account.address)
    assert directory.restore_account(account.account_id).state is AccountState.DISABLED


def test_a_restored_account_needs_its_address_free(directory: SqliteDirectory) -> None:
    first = add(directory, "alice@example.org")
    directory.remove_account("alice@example.org")
    add(directory, "alice@example.org")
    with pytest.raises(AccountError) as error:
        directory.restore_account(first.account_id)
    assert code_of(error) == "account.exists"


def test_a_change_by_another_process_is_seen_by_the_next_call(tmp_path: Path, directory: SqliteDirectory) -> None:
    other = SqliteDirectory(tmp_path / "directory.db")
    assert not directory.resolve("alice@example.org").accounts
    add(other, "alice@example.org")
    assert names(directory, "alice@example.org") == (["alice@example.org"], [])
    other.set_state("alice@example.org", AccountState.DISABLED)
    found = directory.account("alice@example.org")
    assert found is not None
    assert found.state is AccountState.DISABLED
    other.close()


def test_last_logins_are_written_in_one_go_and_empty_no_cache(
    tmp_path: Path, directory: SqliteDirectory, clock: FakeClock
) -> None:
    account = add(directory, "alice@example.org")
    before = directory.resolve("alice@example.org")
    directory.record_login(account.account_id, clock.now())
    clock.skip(60)
    directory.record_login(account.account_id, clock.now())
    directory.flush_logins()
    assert directory.accounts()[0].last_login_at == clock.now()
    assert directory.resolve("alice@example.org") is before


def test_a_new_password_makes_another_credential(directory: SqliteDirectory) -> None:
    add(directory, "alice@example.org")
    before = directory.credential("alice@example.org")
    directory.set_password("alice@example.org", "other")
    after = directory.credential("alice@example.org")
    assert before is not None
    assert after is not None
    assert after.version > before.version
    directory.rehash(before, "rehashed old")
    assert directory.credential("alice@example.org") == after


def test_signing_keys_sign_until_retired_and_their_selector_is_used_once(directory: SqliteDirectory) -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    key = dkim_keys.generate("example.org", "", "ed25519", now)
    assert key.selector == "e202611"
    directory.add_dkim_key(key)
    assert [each.selector for each in directory.dkim_keys("Example.org")] == ["e202611"]
    directory.retire_dkim_key("example.org", "e202611")
    assert not directory.dkim_keys("example.org")
    with pytest.raises(AccountError) as error:
        directory.add_dkim_key(key)
    assert code_of(error) == "account.selector_exists"
    assert (directory.domains()[0].dkim_selectors, len(directory.all_dkim_keys("example.org"))) == ((), 1)


def test_the_database_is_for_its_owner_only(tmp_path: Path, directory: SqliteDirectory) -> None:
    assert (tmp_path / "directory.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("quota_bytes", [-1, 1 << 62])
def test_a_senseless_quota_is_refused(directory: SqliteDirectory, quota_bytes: int) -> None:
    with pytest.raises(AccountError):
        directory.add_account("alice@example.org", "hash", quota_bytes)


def test_counts_of_a_domain(directory: SqliteDirectory) -> None:
    add(directory, "alice@example.org")
    directory.add_alias("info@example.org", ["alice@example.org"])
    domain = directory.domain("example.org")
    assert (domain.account_count, domain.alias_count) == (1, 1)
    assert domain.created_at - timedelta(0) == datetime(2026, 1, 5, 10, tzinfo=UTC)


def test_what_another_process_changed_is_seen_at_its_hint_and_what_it_added_at_once(
    directory: SqliteDirectory, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_RECENT_SECONDS", 600.0)
    alice = add(directory, "alice@example.org")
    other = SqliteDirectory(tmp_path / "directory.db", clock)
    assert not directory.owns(alice, "info@example.org")
    assert not directory.is_local_domain("new.example")
    other.add_alias("info@example.org", ["alice@example.org"])
    other.add_domain("new.example")
    assert directory.owns(alice, "info@example.org")  # nobody is refused unasked
    assert directory.is_local_domain("new.example")
    other.set_state("alice@example.org", AccountState.DISABLED)
    directory.look_again()
    found = directory.account_by_id(alice.account_id)
    assert found is not None
    assert not alice.still_lets_in(found)
    other.remove_account("alice@example.org")
    directory.look_again()
    assert directory.account_by_id(alice.account_id) is None
    other.close()
