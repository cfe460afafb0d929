from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.accounts.app_passwords import SELECTOR_LETTERS, form_of, new_app_password, shown
from mailbox_app.accounts.directory import SqliteDirectory
from mailbox_app.accounts.login import PasswordAuthenticator
from mailbox_app.accounts.model import Account
from mailbox_app.accounts.passwords import Hasher
from mailbox_app.db.offload import Offload
from mailbox_app.errors import AccountError
from mailbox_app.observe.metrics import Metrics
from mailbox_app.proto.sasl.scram_keys import ScramKeys
from tests.support.clock import FakeClock

ALICE, OWN = "alice@example.org", "correct horse battery"


class Desk:
    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.directory = SqliteDirectory(path, self.clock)
        self.directory.add_domain("example.org")
        self.hasher = Hasher()
        self.directory.add_account(ALICE, self.hasher.hash(OWN))
        self.offload = Offload(2)
        self.logins = PasswordAuthenticator(self.directory, self.offload, self.clock, Metrics())

    def make(self, label: str, *protocols: str) -> str:
        form = new_app_password()
        self.directory.add_app_password(ALICE, label, protocols, form[:SELECTOR_LETTERS], self.hasher.hash(form))
        return shown(form)

    async def login(self, password: str, protocol: str = "imap") -> Account | None:
        return await self.logins.login(ALICE, password, protocol=protocol, remote_ip="192.0.2.1")

    def scram(self) -> list[ScramKeys]:
        credential = self.directory.credential(ALICE)
        assert credential is not None
        return list(credential.scram)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "directory.db")
    yield made
    made.offload.close()
    made.directory.close()


def test_its_form_is_told_from_any_other_password() -> None:
    form = new_app_password()
    assert len(form) == 20
    for spelling in (form, shown(form), shown(form).upper(), shown(form).replace("-", " ")):
        assert form_of(spelling) == form
    for other in ("", OWN, form[:-1], form + "a", form[:-1] + "1", "\0" * 20):
        assert form_of(other) == ""


async def test_it_is_good_for_its_protocols_only(desk: Desk) -> None:
    password = desk.make("phone", "imap", "smtp")
    for protocol in ("imap", "submission", "submissions"):
        assert await desk.login(password, protocol) is not None
    assert await desk.login(password, "pop3") is None
    assert await desk.login(password, "imap") is not None
    assert await desk.login(password, "pop3") is None, "what is remembered for one protocol counts for no other"


async def test_the_own_password_and_every_app_password_work_side_by_side(desk: Desk) -> None:
    first, second = desk.make("phone", "imap"), desk.make("tablet", "imap")
    for password in (first, second, OWN):
        assert await desk.login(password) is not None
    assert await desk.login(shown(new_app_password())) is None


async def test_a_revoked_one_is_void_at_once_and_the_others_stay(desk: Desk) -> None:
    first, second = desk.make("phone", "imap"), desk.make("tablet", "imap")
    before = await desk.login(first)
    assert before is not None
    assert await desk.login(OWN) is not None
    await desk.logins.close()
    keys = desk.scram()
    assert keys
    desk.directory.revoke_app_password(ALICE, "phone")
    assert await desk.login(first) is None
    assert not before.still_lets_in(desk.directory.account(ALICE)), "sessions end"
    assert await desk.login(second) is not None
    assert await desk.login(OWN) is not None
    assert desk.scram() == keys, "the account's own password is the same"


async def test_an_app_password_makes_no_scram_keys(desk: Desk) -> None:
    assert await desk.login(desk.make("phone", "imap")) is not None
    await desk.logins.close()
    assert desk.scram() == []


def test_labels_are_unique_and_unknown_ones_are_told(desk: Desk) -> None:
    desk.make("phone", "imap")
    with pytest.raises(AccountError, match="label_taken"):
        desk.make("phone", "imap")
    with pytest.raises(AccountError, match="no_such_app_password"):
        desk.directory.revoke_app_password(ALICE, "tablet")
    assert [each.label for each in desk.directory.app_passwords(ALICE)] == ["phone"]
