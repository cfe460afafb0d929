from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.text import folding
from mailbox_app.proto.text.folding import fold

ALL = [chr(code) for code in range(sys.maxunicode + 1)]
CHANGING = [
    character
    for character in ALL
    if unicodedata.category(character) not in {"Cn", "Co", "Cs"}
    and len({character, character.upper(), character.casefold(), unicodedata.normalize("NFKD", character)}) > 1
]


def test_every_case_of_every_character_is_equal_and_folding_twice_changes_nothing() -> None:
    for character in CHANGING:
        folded = fold(character)
        assert fold(folded) == folded
        assert fold(character.casefold()) == folded
        assert fold(character.upper()) == fold(character.lower()) == fold(character.title()) == folded


def test_a_folded_text_has_no_capitals_no_nul_and_can_be_encoded() -> None:
    text = fold("".join(ALL))
    assert "\0" not in text
    text.encode("utf-8")
    assert not any("A" <= character <= "Z" for character in text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("STRASSE", "straße"),
        ("\u1e9e", "ss"),
        ("\u0130", "i\u0307"),
        ("\u0131", "i"),  # i;unicode-casemap: both have the titlecase I
        ("\u03a3", "\u03c2"),
        ("é", "e\u0301"),
        ("\ufb01nd", "FIND"),
        ("\uff21\uff22\uff23", "abc"),
        ("a\u00a0b", "a b"),
        ("\u212b", "å"),
    ],
)
def test_equal_letters(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), [("e", "é"), ("가", "각"), ("漢", "字"), ("o", "0")])
def test_different_letters(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@given(st.text(), st.text())
def test_the_fold_of_a_text_is_the_fold_of_its_pieces(one: str, other: str) -> None:
    assert fold(one + other) == fold(one) + fold(other)


@given(st.text(), st.text())
def test_what_folding_of_case_calls_a_part_stays_a_part(text: str, part: str) -> None:
    assert fold(part) in fold(text + part.upper() + text)


def test_characters_are_equal_when_the_collation_says_so() -> None:
    # RFC 5051 2: simple titlecase, then the decomposition of every character
    groups: dict[str, set[str]] = {}
    for character in CHANGING:
        if "\uac00" <= character <= "\ud7a3":
            continue
        title = character.title()
        key = unicodedata.normalize("NFKD", title if len(title) == 1 else character)
        groups.setdefault(key, set()).add(fold(character))
    assert [key for key, folds in groups.items() if len(folds) > 1 and key] == []


def test_the_table_does_not_grow_for_ever() -> None:
    fold("".join(ALL))
    assert len(folding._TABLE) <= folding._KEPT
