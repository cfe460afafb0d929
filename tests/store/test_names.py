"""Names as folders: inverse, never out of place."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailbox_app.errors import StoreError
from mailbox_app.store.maildir import filenames, names

LEVELS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\u2028\u2029"), min_size=1, max_size=12
)


@given(st.lists(LEVELS, min_size=1, max_size=4).map("/".join))
@example("a.b/c")
@example("&")
@example("é.&-/&AC4-")
@example("日本語 &/~peter")
def test_folder_is_the_inverse_of_name(name: str) -> None:
    try:
        name = names.canonical(name)
    except StoreError:
        return
    if name != names.INBOX:
        assert names.name_of(names.folder_of(name)) == name


@given(st.text(max_size=60))
def test_no_name_becomes_a_path(name: str) -> None:
    try:
        folder = names.folder_of(names.canonical(name))
    except StoreError:
        return
    assert "/" not in folder
    assert "\0" not in folder
    assert ".." not in folder
    assert len(folder.encode()) <= names.MAX_FOLDER_BYTES


@given(st.text(max_size=80))
def test_any_folder_is_read_or_passed_over(folder: str) -> None:
    name = names.name_of("." + folder)
    assert name is None or names.canonical(name) == name


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_account_part_is_one_harmless_component(part: str) -> None:
    try:
        folder = names.account_folder(part)
    except StoreError:
        return
    assert folder not in {"", ".", ".."}
    assert not set(folder) & {"/", "\0"}
    assert not folder.startswith(".")


def test_different_accounts_never_share_a_folder() -> None:
    assert names.account_folder("a/b") != names.account_folder("a%2Fb")


@pytest.mark.parametrize(
    ("name", "folder"), [("Sent", ".Sent"), ("Entwürfe", ".Entw&APw-rfe"), ("a.b/c", ".a&AC4-b.c")]
)
def test_folders_look_as_other_servers_write_them(name: str, folder: str) -> None:
    assert names.folder_of(name) == folder


@given(st.integers(0, (1 << 34) - 1))
def test_letters_are_the_inverse_of_flags(number: int) -> None:
    flags = number & 0x1F | number >> 8 << 8
    assert filenames.flags_of(filenames.letters(flags)) == flags
    assert filenames.letters(flags) == "".join(sorted(filenames.letters(flags)))


def test_stem_of_a_delivery_tells_what_it_is() -> None:
    stem = filenames.stem(1_700_000_000, "M123P4Q5", 6, "mx.example.org", 789, 10)
    assert filenames.delivered(stem) == filenames.Delivered(1_700_000_000, 6, "mx.example.org", 10)
    assert (filenames.uid_of(stem), filenames.seconds_of(stem)) == (10, 1_700_000_000)


def test_adopted_stem_loses_the_delivery_mark() -> None:
    stem = filenames.stem(1, "M2P3Q4", 5, "host", 6, 7)
    adopted = filenames.adopted_stem(stem, 60, 70)
    assert adopted == "1.M2P3Q4.host,S=60,U=70"
    assert filenames.delivered(adopted) is None


@given(st.text(max_size=40))
def test_any_file_name_is_read(name: str) -> None:
    stem, letters = filenames.split(name)
    filenames.flags_of(letters)
    filenames.delivered(stem)
    uid = filenames.uid_of(stem)
    assert uid is None or 0 < uid < 1 << 32
