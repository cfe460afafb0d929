"""Senders by what people did with their mail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.ids import AccountId
from mailbox_app.policy.checks.bayes import BayesCheck
from mailbox_app.policy.checks.first_time_sender import FirstTimeSender
from mailbox_app.policy.checks.reputation import ReputationCheck
from mailbox_app.policy.identity import of_facts
from tests.support.policy import Bench, account, facts_of, passing

RAW = b"From: Alice <a@mail.example.com>\nSubject: offer\n\ncheap watches here\n"
ALICE, BOB = AccountId(1), AccountId(2)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def score(bench: Bench, *, vouched: bool = True) -> list[float]:
    auth = passing("mail.example.com") if vouched else passing()
    return [each.score for each in bench.run(ReputationCheck, facts_of(RAW, auth=auth))]


def note(bench: Bench, *senders: str, junk: float = 0, ham: float = 0, seen: float = 0, who: AccountId = ALICE) -> None:
    bench.files.state.reputation.note(who, senders, junk=junk, ham=ham, seen=seen)


def test_one_word_about_an_address_decides(bench: Bench) -> None:
    note(bench, "address:a@mail.example.com", junk=1)
    assert score(bench) == [4.5]


def test_an_address_nobody_vouches_for_has_no_reputation(bench: Bench) -> None:
    note(bench, "address:a@mail.example.com", ham=5)
    assert score(bench, vouched=False) == []
    assert score(bench) == [-4.0]


def test_the_most_telling_name_decides(bench: Bench) -> None:
    note(bench, "address:a@mail.example.com", ham=3)
    note(bench, "domain:mail.example.com", "network:192.0.2.0/24", junk=30)
    assert score(bench) == [-4.0]


def test_an_undecided_name_leaves_it_to_the_next(bench: Bench) -> None:
    note(bench, "domain:mail.example.com", ham=5, junk=5)
    note(bench, "ip:192.0.2.7", junk=6)
    assert score(bench) == [3.0]


def test_few_words_about_a_network_decide_nothing(bench: Bench) -> None:
    note(bench, "network:192.0.2.0/24", junk=2)
    assert score(bench) == []


def test_what_others_know_counts_half(bench: Bench) -> None:
    note(bench, "domain:mail.example.com", junk=6, who=BOB)
    assert score(bench) == [1.5]


def test_what_nearly_nobody_wanted_any_of_counts_more(bench: Bench) -> None:
    note(bench, "domain:mail.example.com", junk=20, who=BOB)
    assert score(bench) == [2.25]
    note(bench, "domain:mail.example.com", junk=20, ham=5, who=BOB)
    assert score(bench) == [1.5]


def test_a_few_who_dislike_what_many_read_do_not_decide_for_all(bench: Bench) -> None:
    note(bench, "domain:mail.example.com", junk=20, who=BOB)
    note(bench, "domain:mail.example.com", seen=200, who=AccountId(3))
    assert score(bench) == []


def test_read_mail_alone_makes_nobody_friends_at_once(bench: Bench) -> None:
    note(bench, "address:a@mail.example.com", seen=3)
    assert score(bench) == []
    note(bench, "address:a@mail.example.com", seen=3)
    assert score(bench) == [-4.0]


def test_a_stranger_costs_half_a_point_until_it_is_known(bench: Bench) -> None:
    facts = facts_of(RAW, auth=passing("mail.example.com"), accounts=[account(1), account(2)])
    assert [(each.score, each.account_id) for each in bench.run(FirstTimeSender, facts)] == [(0.5, None)]
    note(bench, "domain:mail.example.com", seen=1)
    facts = facts_of(RAW, auth=passing("mail.example.com"), accounts=[account(1), account(2)])
    assert [(each.score, each.account_id) for each in bench.run(FirstTimeSender, facts)] == [(0.5, BOB)]


def test_who_was_written_to_is_welcome_if_it_is_really_them(bench: Bench) -> None:
    bench.files.state.correspondents.wrote(ALICE, ["a@mail.example.com"])
    facts = facts_of(RAW, auth=passing("mail.example.com"))
    assert [(each.score, each.account_id) for each in bench.run(FirstTimeSender, facts)] == [(-3.0, ALICE)]
    assert [each.score for each in bench.run(FirstTimeSender, facts_of(RAW, auth=passing()))] == [0.5]


def test_the_client_is_named_by_address_and_network() -> None:
    facts = facts_of(RAW, auth=passing("", ["list.example.com", "other.net"]), remote_ip="2001:db8:1:2::3")
    assert of_facts(facts).senders == [
        "address:a@mail.example.com",
        "domain:mail.example.com",
        "organisation:example.com",
        "dkim:list.example.com",
        "dkim:other.net",
        "ip:2001:db8:1:2::3",
        "network:2001:db8:1::/48",
    ]


@pytest.mark.parametrize("remote_ip", ["127.0.0.1", "10.1.2.3", "fe80::1"])
def test_our_own_network_has_no_reputation(remote_ip: str) -> None:
    assert of_facts(facts_of(RAW, remote_ip=remote_ip)).senders == []


def test_good_words_count_in_full_only_for_proven_authors_of_whom_mail_was_kept_before(bench: Bench) -> None:
    corpus = bench.files.state.corpus
    found = {}
    for vouched, junk in ((True, 0), (False, 0), (True, 9)):
        note(bench, "domain:mail.example.com", seen=1, junk=junk)
        auth = passing("mail.example.com") if vouched else passing()
        facts = facts_of(RAW, auth=auth, accounts=[account(1)])
        bench.run(BayesCheck, facts)
        assert facts.message is not None
        words = facts.message.derived.get("words")
        assert isinstance(words, list)
        for number in range(20):
            corpus.learn(ALICE, b"h%d" % number, words, is_spam=False)
            corpus.learn(ALICE, b"s%d" % number, range(30), is_spam=True)
        bench.clock.skip(60)
        found[vouched, junk] = sum(each.score for each in bench.run(BayesCheck, facts))
    assert found == {(True, 0): -2.0, (False, 0): -1.0, (True, 9): -1.0}


def test_words_are_judged_for_each_account(bench: Bench) -> None:
    from mailbox_app.policy.words import words_of
    from mailbox_app.proto.header import Header

    facts = facts_of(RAW, accounts=[account(1), account(2)])
    assert bench.run(BayesCheck, facts) == ()
    words = words_of(Header.parse(b"From: Alice <a@mail.example.com>\r\nSubject: offer\r\n\r\n"), "cheap watches here")
    other = words_of(Header.parse(b"Subject: lunch\r\n\r\n"), "see you at noon tomorrow")
    for number in range(20):
        bench.files.state.corpus.learn(ALICE, b"s%d" % number, words, is_spam=True)
        bench.files.state.corpus.learn(ALICE, b"h%d" % number, other, is_spam=False)
    bench.clock.skip(60)
    (finding,) = bench.run(BayesCheck, facts_of(RAW, accounts=[account(2)]))
    assert finding.account_id is None
    assert finding.score > 3
    found = bench.run(BayesCheck, facts_of(RAW, accounts=[account(1), account(2)]))
    assert [each.account_id for each in found] == [ALICE, BOB]
