from __future__ import annotations

import pytest

from mailbox_app.proto.sieve.mailto import BadMailto, Mailto, parse_mailto


def test_recipients_and_fields_are_read_and_decoded() -> None:
    uri = "mailto:timo@example.com%2cann@example.net?cc=ann@example.net,Bo@example.org&Subject=Frop%20it&body=a%0D%0Ab"
    found = parse_mailto(uri)
    assert found == Mailto(
        ("timo@example.com", "ann@example.net"), ("Bo@example.org",), subject="Frop it", body="a\r\nb"
    )
    assert found.recipients == ("timo@example.com", "ann@example.net", "Bo@example.org")


def test_without_a_first_recipient_the_copies_come_first() -> None:
    assert parse_mailto("mailto:?cc=a@b.example&bcc=c@d.example,a@b.example") == Mailto(
        ("a@b.example",), (), ("c@d.example",)
    )


def test_a_comma_within_a_quoted_name_separates_nothing() -> None:
    assert len(parse_mailto("mailto:%22a%2Cb%22@c.example,d@e.example").to) == 2


def test_fields_that_are_not_the_writers_to_set_are_left_out() -> None:
    found = parse_mailto("MAILTO:a@example.com?from=x@example.com&bcc=y@example.com&auto-submitted=no&keywords=k")
    assert found == Mailto(("a@example.com",), (), ("y@example.com",), fields=(("Keywords", "k"),))


def test_a_field_cannot_bring_another_one() -> None:
    assert parse_mailto("mailto:a@b.example?subject=x%0D%0ABcc:%20e@f.example").subject == "x Bcc: e@f.example"


@pytest.mark.parametrize(
    "uri",
    ["", "mailto:", "xmpp:a@b.example", "mailto:a", "mailto:a@b.example?x", "mailto:a@b.example?a:b=c", "mailto:a b@c.example",
     "mailto:?subject=x", "mailto:" + ",".join(f"a{n}@b.example" for n in range(9)), "mailto:a@b.example?" + "s" * 5_000],
)  # fmt: skip
def test_what_is_none_is_refused(uri: str) -> None:
    with pytest.raises(BadMailto):
        parse_mailto(uri)
