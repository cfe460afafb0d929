from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.tls_report import FailureDetail, PolicyReport, TlsReport, compose, read_report

DAY = 1_767_571_200
REPORT = TlsReport(
    "mail.example.org",
    "postmaster@example.org",
    "abc",
    DAY,
    DAY + 86_399,
    [
        PolicyReport("sts", "far.example", ["version: STSv1", "mode: testing"], ["*.far.example"], 5326, 2, [
            FailureDetail("certificate-expired", 2, "192.0.2.1", "mx.far.example", "198.51.100.7", "", "it ran out"),
        ]),
        PolicyReport("no-policy-found", "other.example", [], [], 1, 0, []),
    ],
)  # fmt: skip


def test_a_report_reads_as_it_was_composed() -> None:
    assert read_report(iter([compose(REPORT)])) == REPORT


def test_the_names_are_those_of_the_standard() -> None:  # RFC 8460 4.4
    raw = json.loads(compose(REPORT))
    assert raw["date-range"] == {"start-datetime": "2026-01-05T00:00:00Z", "end-datetime": "2026-01-05T23:59:59Z"}
    first = raw["policies"][0]
    assert first["policy"]["policy-type"] == "sts"
    assert first["summary"] == {"total-successful-session-count": 5326, "total-failure-session-count": 2}
    assert first["failure-details"][0]["failed-session-count"] == 2


def test_a_single_text_in_place_of_a_list_is_read() -> None:
    raw = json.loads(compose(REPORT))
    raw["policies"][0]["policy"]["mx-host"] = ".far.example"
    assert read_report(iter([json.dumps(raw).encode()])).policies[0].mx_hosts == [".far.example"]


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"{}", b'{"policies": []}', b"[" * 100_000, b'{"policies": [{}]}', b"\xff\xfe", b"<xml/>",
     b'{"policies": [{}], "date-range": {"start-datetime": "2026-13-05T00:00:00Z", "end-datetime": "x"}}'],
)  # fmt: skip
def test_what_is_no_report_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"report\."):
        read_report(iter([data]))


def test_a_report_without_end_is_refused() -> None:
    with pytest.raises(ProtocolError, match=r"report\.too_large"):
        read_report(iter(lambda: b" " * 1_000_000, None))


def test_only_so_many_details_are_kept() -> None:
    raw = json.loads(compose(REPORT))
    raw["policies"] = [{"failure-details": [{"result-type": "x"}] * 3_000}] * 3
    found = read_report(iter([json.dumps(raw).encode()]))
    assert [len(each.details) for each in found.policies] == [3_000, 2_000, 0]


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["policies", "policy", "summary", "failure-details", "date-range", "start-datetime", "mx-host"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(trees)
def test_any_json_is_a_report_or_an_error(tree: object) -> None:
    if isinstance(tree, dict):
        tree.setdefault(
            "date-range", {"start-datetime": "2026-01-05T00:00:00Z", "end-datetime": "2026-01-05T23:59:59Z"}
        )
    with contextlib.suppress(ProtocolError):
        read_report(iter([json.dumps(tree).encode()]))
