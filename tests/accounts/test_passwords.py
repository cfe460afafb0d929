from __future__ import annotations

import pytest

from mailbox_app.accounts.passwords import Hasher, check_new, prepare
from mailbox_app.errors import AccountError

ADDRESS = "alice.smith@example.org"


@pytest.mark.parametrize(
    "password",
    [
        "",
        "seven77",
        "x" * 257,
        "é" * 129,
        "Alice.Smith@example.org",
        "alice.smith",
        "example.org",
        "aaaaaaaaaa",
        "tab\tinside it",
    ],
)
def test_a_weak_or_senseless_password_is_refused(password: str) -> None:
    with pytest.raises(AccountError) as error:
        check_new(password, ADDRESS)
    assert error.value.code == "account.bad_password"
    assert not password or password not in error.value.public_text or password in ADDRESS


@pytest.mark.parametrize("password", ["eight888", "x1" * 128, "correct horse battery", "пароль ёлка"])
def test_any_other_password_is_fine(password: str) -> None:
    assert check_new(password, ADDRESS)


def test_one_password_typed_on_two_systems_is_one() -> None:
    assert prepare("cafe\u0301\u00a0noir") == prepare("caf\u00e9 noir")


def test_a_hash_is_argon2id_and_verifies_only_its_password() -> None:
    hasher = Hasher()
    stored = hasher.hash("correct horse battery")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert hasher.verify(stored, "correct horse battery")
    assert not hasher.verify(stored, "correct horse batterY")
    assert not hasher.verify("no hash at all", "correct horse battery")
    assert not hasher.is_outdated(stored)
    assert hasher.is_outdated(stored.replace("m=19456", "m=8192"))
