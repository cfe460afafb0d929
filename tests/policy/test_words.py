"""Words and what they come to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.policy.bayes import Counts, combine, own_probability, score_of, word_probability
from mailbox_app.policy.content import MAX_FILES, TEXT_CHARACTERS, Source, read_content
from mailbox_app.policy.links import domains_of, hosts_of, is_mixed, misleading
from mailbox_app.policy.words import HEADER_WORDS, LINK_WORDS, TEXT_WORDS, word_number, words_of
from mailbox_app.proto.header import Header, header_end

_SYNTAX = st.sampled_from(
    [
        b"From: a@b.example\r\n",
        b"Subject: =?utf-8?b?4oKs?= x\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"\r\n--b\r\n",
        b"Content-Type: text/html\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"\r\n\r\n",
        b"<a href='http://x.example/",
        b"'>www.y.example</a>",
        b"<!--",
        b"PK\x03\x04",
        b'Content-Disposition: attachment; filename="a.exe"\r\n',
        b"http://\xd0\xb0pple.example/",
    ]
)


@given(st.lists(st.one_of(_SYNTAX, st.binary(max_size=200)), max_size=30))
def test_whatever_the_bytes_are_words_come_out_bounded(pieces: list[bytes]) -> None:
    raw = b"".join(pieces)
    end = header_end(raw)
    header = Header.parse(raw[:end])
    content = read_content(Source(raw[:end], raw[end:], len(raw)), header)
    words = words_of(header, content.text, domains_of(content), content.kinds)
    assert len(words) == len(set(words)) <= TEXT_WORDS + 3 * HEADER_WORDS + LINK_WORDS + 8
    assert all(0 <= word < 1 << 32 for word in words)
    assert len(content.text) <= TEXT_CHARACTERS
    assert len(content.files) <= MAX_FILES
    assert all(host == host.lower() and host.isascii() for host in hosts_of(content))
    assert all(shown != goes for shown, goes in misleading(content))


@given(st.text(max_size=2_000))
def test_any_text_is_words(text: str) -> None:
    assert len(words_of(Header.parse(b"\r\n"), text)) <= TEXT_WORDS
    is_mixed(text)


@given(st.lists(st.floats(0.0001, 0.9999), max_size=400))
def test_a_likelihood_is_one_and_its_score_in_range(probabilities: list[float]) -> None:
    chance = combine(probabilities)
    assert -1e-9 <= chance <= 1 + 1e-9
    assert -3.0 <= score_of(chance) <= 6.0


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_word_speaks_within_bounds(spam: int, ham: int, all_spam: int, all_ham: int) -> None:
    assert 0 < word_probability(spam, ham, Counts(all_spam, all_ham)) < 1


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.floats(0.01, 0.99))
def test_ones_own_experience_lies_between_that_and_the_others(spam: int, ham: int, others: float) -> None:
    totals = Counts(10_000, 10_000)
    own = own_probability(spam, ham, totals, others)
    share = spam / (spam + ham) if spam + ham else others
    assert min(share, others) - 1e-9 <= own <= max(share, others) + 1e-9


def test_what_was_seen_at_home_often_outweighs_the_others() -> None:
    totals = Counts(50, 50)
    assert own_probability(0, 1, totals, 0.95) > 0.6
    assert own_probability(0, 20, totals, 0.95) < 0.2


def test_a_classifier_is_as_sure_as_its_lessons_allow() -> None:
    assert [round(Counts(count, 900).temper(1.0), 2) for count in (20, 40, 60, 900)] == [0.95, 0.97, 1.0, 1.0]
    assert Counts(20, 20).temper(0.0) == pytest.approx(0.05)
    assert Counts(20, 20).temper(0.5) == 0.5


def test_words_of_long_messages_decide_as_those_of_short_ones() -> None:
    assert combine([0.99] * 400) > 0.999
    assert combine([0.01] * 400) < 0.001
    assert combine([0.99] * 75 + [0.01] * 75) == combine([0.99] * 5 + [0.01] * 5) == 0.5


def test_scores_follow_the_likelihood() -> None:
    assert [score_of(chance) for chance in (0.0, 0.05, 0.5, 0.9, 0.99, 1.0)] == [-3.0, -2.0, 0.0, 2.8, 5.2, 6.0]


def test_filler_in_front_does_not_push_the_same_words_out() -> None:
    spam = " ".join(f"pills{n}" for n in range(50))
    filler = " ".join(f"harmless{n}" for n in range(2_000))
    alone = set(words_of(Header.parse(b"\r\n"), spam))
    behind = set(words_of(Header.parse(b"\r\n"), filler[:15_000] + " " + spam))
    assert alone & behind


def test_words_of_subject_and_text_are_told_apart() -> None:
    words = words_of(Header.parse(b"Subject: watches\r\n\r\n"), "offer")
    assert words == [word_number("s", "watches"), word_number("", "offer")]


def test_scripts_without_spaces_are_read_in_pairs() -> None:
    assert word_number("", "\u4f60\u597d") in words_of(Header.parse(b"\r\n"), "\u4f60\u597d\u5417")
