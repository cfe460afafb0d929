from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.mta_sts_policy import MAX_AGE_SECONDS, StsMode, StsPolicy, parse_policy, parse_record


@pytest.mark.parametrize(
    ("texts", "record_id"),
    [
        (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        (["v=STSv1;id=a"], "a"),
        (["v=STSv1; id = a ; x=y"], "a"),
        (["v=STSv1; id=a; id=b"], "a"),
        (["v=spf1 -all", "v=STSv1; id=a"], "a"),
        (["v=STSv1; id=a", "v=STSv1; id=b"], None),
        (["v=STSv1;"], None),
        (["v=STSv1; id=a-b"], None),
        (["v=STSv1; id=" + "a" * 33], None),
        (["v=STSv10; id=a"], None),
        (["id=a; v=STSv1"], None),
        ([" v=STSv1; id=a"], None),
        ([], None),
    ],
)
def test_the_one_good_record_has_an_id(texts: list[str], record_id: str | None) -> None:
    assert parse_record(texts) == record_id


def test_the_example_of_the_standard() -> None:
    """RFC 8461 3.2."""
    text = b"version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmx: backupmx.example.com\nmax_age: 604800\n"
    found = parse_policy(text)
    assert found == StsPolicy(StsMode.ENFORCE, 604_800, ("mail.example.com", "*.example.net", "backupmx.example.com"))
    assert parse_policy(text.replace(b"\n", b"\r\n")) == found


@pytest.mark.parametrize(
    ("pattern", "host", "named"),
    [
        ("mail.example.com", "MAIL.example.com.", True),
        ("*.example.com", "mx.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.mx.example.com", False),
        ("*.example.com", "mx.example.com.evil.example", False),
        ("example.com", "mx.example.com", False),
    ],
)
def test_a_star_stands_for_one_label(pattern: str, host: str, named: bool) -> None:
    assert StsPolicy(StsMode.ENFORCE, 1, (pattern,)).names(host) is named


GOOD = "version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 10\n"


@pytest.mark.parametrize(
    "text",
    ["", GOOD.replace("STSv1", "STSv2"), GOOD.replace("version: STSv1\n", ""), GOOD.replace("enforce", "strict"),
     GOOD.replace("mx: a.example\n", ""), GOOD.replace("10", "-1"), GOOD.replace("10", "ten"), GOOD.replace("max_age: 10\n", ""),
     GOOD.replace("a.example", "a b"), GOOD.replace("a.example", "*"), GOOD.replace("a.example", "a.*.example"), GOOD + "x\n",
     GOOD.replace("a.example", "\u00e4.example"), "mx: a.example\n" * 20_000,
     GOOD + "".join(f"mx: a{n}.example\n" for n in range(501))],
)  # fmt: skip
def test_what_is_no_policy_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ProtocolError, match="MTA-STS policy is not valid: it"):
        parse_policy(text.encode())


def test_what_versions_to_come_add_is_passed_over_and_the_first_of_equal_fields_counts() -> None:
    found = parse_policy(
        (GOOD + "mode: none\nnew_field: x\nmax_age: 99999999999999\n").replace("10", "9999999999").encode()
    )
    assert (found.mode, found.max_age_seconds) == (StsMode.ENFORCE, MAX_AGE_SECONDS)
    assert parse_policy(b"version: STSv1\nmode: none\nmax_age: 0\n").mode is StsMode.NONE


@given(st.binary(max_size=400))
def test_any_bytes_are_a_policy_or_refused(data: bytes) -> None:
    for text in (data, GOOD.encode() + data):
        try:
            found = parse_policy(text)
        except ProtocolError:
            continue
        assert parse_policy("\n".join(found.lines()).encode()) == found
