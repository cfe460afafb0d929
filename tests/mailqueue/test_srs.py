"""Sender rewriting: round trips, forgeries, ages."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mailbox_app.mailqueue.srs import SenderRewriting, SrsError, is_rewritten

DAY = 86_400
NOW = 20_000 * DAY + 5_000.0
OURS = SenderRewriting(b"k" * 32)
LOCALPARTS = st.text("abcXYZ0123456789=+-._'/ü", min_size=1, max_size=24)
DOMAINS = st.sampled_from(["remote.example", "a.b", "xn--bcher-kva.example", "REMOTE.example"])


def localpart_of(address: str | None) -> str:
    assert address is not None
    return address.rpartition("@")[0]


@given(LOCALPARTS, DOMAINS, st.integers(0, 21), st.sampled_from([str, str.lower, str.upper]))
@example("srs", "a.b", 0, str)
def test_what_was_rewritten_comes_back_within_21_days(localpart: str, domain: str, days: int, fold: object) -> None:
    assume(not is_rewritten(localpart))
    written = OURS.rewrite(f"{localpart}@{domain}", "ours.example", NOW)
    assume(written is not None)
    assert written is not None
    assert len(localpart_of(written).encode()) <= 64
    assert written.endswith("@ours.example")
    assert OURS.restore(localpart_of(written), NOW + days * DAY) == f"{localpart}@{domain}"
    lowered = OURS.restore(localpart_of(written).lower(), NOW + days * DAY)
    assert lowered.lower() == f"{localpart}@{domain}".lower()


@given(st.binary(min_size=1, max_size=40), st.integers(0, 60), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567=@"))
def test_no_change_of_an_address_and_no_other_key_is_taken(key: bytes, at: int, letter: str) -> None:
    written = localpart_of(OURS.rewrite("carol@remote.example", "ours.example", NOW))
    changed = written[:at] + letter + written[at + 1 :]
    if changed.lower() != written.lower():
        with pytest.raises(SrsError):
            OURS.restore(changed, NOW)
    with pytest.raises(SrsError):
        SenderRewriting(key).restore(written, NOW)


@given(st.text(max_size=80))
def test_anything_is_refused_with_a_reason(text: str) -> None:
    for start in ("", "SRS0=", "srs1+", "SRS0=AAAAAA=AA=", "SRS1=AAAAAA=b.example=="):
        with pytest.raises(SrsError):
            OURS.restore(start + text, NOW)


@pytest.mark.parametrize(("days", "code"), [(22, "srs.expired"), (400, "srs.expired"), (1022, "srs.expired")])
def test_an_old_address_is_expired(days: int, code: str) -> None:
    written = localpart_of(OURS.rewrite("carol@remote.example", "ours.example", NOW))
    with pytest.raises(SrsError) as error:
        OURS.restore(written, NOW + days * DAY)
    assert error.value.code == code
    assert OURS.restore(written, NOW - DAY) == "carol@remote.example"  # a clock that is behind


def test_a_second_forwarder_leads_back_to_the_first_and_no_chain_grows() -> None:
    first, second, third = (SenderRewriting(name * 32) for name in (b"1", b"2", b"3"))
    one = first.rewrite("carol@remote.example", "one.example", NOW)
    assert one is not None
    two = second.rewrite(one, "two.example", NOW)
    assert two is not None
    assert two.startswith("SRS1=")
    three = third.rewrite(two, "three.example", NOW)
    assert three is not None
    assert len(three) == len(two) + 2  # only our domain's name is longer
    assert third.restore(localpart_of(three), NOW) == one
    assert second.restore(localpart_of(two), NOW) == one
    assert first.restore(localpart_of(one), NOW) == "carol@remote.example"


def test_others_hashes_and_separators_are_kept_as_they_are() -> None:
    for foreign in ("SRS0+Ab/=cd=remote.example=carol@one.example", "srs0-x=y=z=w@one.example"):
        written = OURS.rewrite(foreign, "ours.example", NOW)
        restored = OURS.restore(localpart_of(written), NOW)
        assert restored == "SRS0" + foreign[4:]
    written = OURS.rewrite("SRS1=hTy4=first.example==OpQr=JM=a.b=c@second.example", "ours.example", NOW)
    assert OURS.restore(localpart_of(written), NOW) == "SRS0=OpQr=JM=a.b=c@first.example"


@pytest.mark.parametrize(
    "sender",
    [
        "remote.example",
        "@remote.example",
        "carol@",
        "SRS0=@remote.example",
        f"{'x' * 50}@remote.example",
        '"a b"@remote.example',
        "carol@[192.0.2.1]",
        '"a..b"@remote.example',
    ],
)
def test_what_could_be_no_address_is_not_made(sender: str) -> None:
    assert OURS.rewrite(sender, "ours.example", NOW) is None


def test_only_the_form_tells_a_rewritten_sender() -> None:
    assert is_rewritten("SRS0=AAAA=BB=c=d")
    assert is_rewritten("srs1+AAAA")
    assert not is_rewritten("srs")
    assert not is_rewritten("SRS2=x")
