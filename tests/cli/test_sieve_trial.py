"""A script tried out without a server: each step, and what would be done."""

from __future__ import annotations

import pytest

from mailbox_app.cli.sieve_trial import tried

MESSAGE = (
    b"From: a@b.example\r\nTo: alice@example.org\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    ("source", "action"),
    [
        ("", "keep (no rule says otherwise)"),
        ('require "fileinto"; fileinto "Work";', "store in Work"),
        (
            'require ["fileinto", "editheader"]; addheader "X" "1"; fileinto "Work";',
            "store in Work with a changed header",
        ),
        ('require ["fileinto", "replace"]; replace "gone"; fileinto "Work";', "store in Work with changed content"),
        ('require "replace"; replace "gone"; redirect "c@d.example";', "pass on to c@d.example with changed content"),
        ('require "enclose"; enclose "around"; redirect "c@d.example";', "pass on to c@d.example"),
    ],
)
def test_what_would_be_done_is_told(source: str, action: str) -> None:
    assert tried(source, MESSAGE, "a@b.example", "alice@example.org")["actions"] == [action]


def test_each_step_is_told_with_its_line() -> None:
    told = tried(
        'require ["foreverypart", "mime", "replace"];\nforeverypart {\n if header :mime :subtype "Content-Type" "plain"\n'
        ' { replace "x"; }\n}\nkeep;',
        MESSAGE,
        "a@b.example",
        "alice@example.org",
    )
    assert told["steps"] == [
        '3: header :mime :subtype "plain" in "mixed" = false',
        '3: header :mime :subtype "plain" in "plain" = true',
        "4: replace part 1",
        "6: keep",
    ]
    assert told["actions"] == ["keep with changed content"]
