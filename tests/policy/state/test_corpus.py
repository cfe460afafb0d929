"""What the classifier has learnt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.ids import AccountId
from mailbox_app.policy.bayes import LEAST_TRAINED, Counts
from mailbox_app.policy.state import corpus as corpus_module
from mailbox_app.policy.state.corpus import BASE, Corpus
from tests.support.policy import Bench

ALICE, BOB = AccountId(1), AccountId(2)
BAD, GOOD = list(range(1, 30)), list(range(100, 130))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def corpus(bench: Bench) -> Corpus:
    return bench.files.state.corpus


def teach(corpus: Corpus, account: AccountId, count: int = LEAST_TRAINED) -> None:
    for number in range(count):
        corpus.learn(account, b"s%d" % number, BAD, is_spam=True)
        corpus.learn(account, b"h%d" % number, GOOD, is_spam=False)


def test_nothing_is_said_before_enough_was_learnt(corpus: Corpus) -> None:
    teach(corpus, ALICE, LEAST_TRAINED - 1)
    assert corpus.likelihoods([ALICE], BAD) == {}
    assert not corpus.knows_enough([ALICE])


def test_an_account_knows_its_own_words(bench: Bench, corpus: Corpus) -> None:
    teach(corpus, ALICE)
    bench.clock.skip(60)
    assert corpus.likelihoods([ALICE], BAD)[ALICE] > 0.9
    assert corpus.likelihoods([ALICE], GOOD)[ALICE] < 0.1


def test_the_base_speaks_for_who_has_learnt_nothing(bench: Bench, corpus: Corpus) -> None:
    teach(corpus, ALICE)
    bench.clock.skip(60)
    found = corpus.likelihoods([BOB], BAD)
    assert BOB not in found
    assert found[BASE] > 0.9


def test_an_account_of_another_opinion_has_its_own(bench: Bench, corpus: Corpus) -> None:
    teach(corpus, ALICE)
    for number in range(LEAST_TRAINED):
        corpus.learn(BOB, b"x%d" % number, GOOD, is_spam=True)
        corpus.learn(BOB, b"y%d" % number, BAD, is_spam=False)
    bench.clock.skip(60)
    found = corpus.likelihoods([ALICE, BOB], BAD)
    assert found[ALICE] > 0.9
    assert found[BOB] < 0.1


def test_a_message_is_learnt_once(bench: Bench, corpus: Corpus) -> None:
    assert corpus.learn(ALICE, b"one", BAD, is_spam=True) is True
    assert corpus.learn(ALICE, b"one", BAD, is_spam=True) is False
    assert corpus.totals(ALICE) == corpus.totals(BASE) == Counts(1, 0)


def test_the_other_way_takes_the_first_lesson_back(bench: Bench, corpus: Corpus) -> None:
    corpus.learn(ALICE, b"one", BAD, is_spam=True)
    assert corpus.learn(ALICE, b"one", GOOD, is_spam=False) is None
    assert corpus.totals(ALICE) == corpus.totals(BASE) == Counts(0, 1)
    with bench.files.junk.reading() as connection:
        spam = connection.execute("SELECT sum(spam) FROM word").fetchone()[0]
    assert spam == 0


def test_words_are_bounded(bench: Bench, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "MAX_WORDS", 100)
    monkeypatch.setattr(corpus_module, "MAX_TRAINED", 10)
    for number in range(100):
        corpus.learn(ALICE, b"%d" % number, range(number * 50, number * 50 + 50), is_spam=True)
    with bench.files.junk.reading() as connection:
        words = connection.execute("SELECT count(*) FROM word WHERE account_id = 1").fetchone()[0]
        trained = connection.execute("SELECT count(*) FROM trained WHERE account_id = 1").fetchone()[0]
    assert words <= 100
    assert trained == 10
    assert corpus.totals(ALICE).spam == 100


def test_lessons_of_kept_mail_are_told_apart_and_give_way(bench: Bench, corpus: Corpus) -> None:
    corpus.learn(ALICE, b"one", GOOD, is_spam=False, kept=True)
    corpus.learn(ALICE, b"two", GOOD, is_spam=False, kept=True)
    corpus.learn(BOB, b"three", GOOD, is_spam=False)
    assert corpus.kept() == {BASE: 2, ALICE: 2}
    assert corpus.learn(ALICE, b"one", GOOD, is_spam=True) is True  # a first lesson: nobody said anything before
    assert corpus.learn(ALICE, b"one", GOOD, is_spam=False, kept=True) is False
    assert corpus.kept() == {BASE: 1, ALICE: 1}
    assert corpus.totals(ALICE) == Counts(1, 1)
    assert corpus.totals(BASE) == Counts(1, 2)
