from __future__ import annotations

import pytest

from mailbox_app.proto.sieve.mailto import BadMailto, Mailto, parse_mailto


def test_recipients_and_fields_are_read_and_decoded() -> None:
    uri = "mailto:timo@example.com%2cann@example.net?cc=ann@example.net,Bo@example.org&Subject=Frop%20it&body=a%0D%0Ab"
    fields = (("subject", "Frop it"), ("body", "a\r\nb"))
    assert parse_mailto(uri) == Mailto(("timo@example.com", "ann@example.net"), ("Bo@example.org",), fields)


def test_fields_that_are_not_the_writers_to_set_are_left_out() -> None:
    found = parse_mailto("MAILTO:a@example.com?from=x@example.com&bcc=y@example.com&auto-submitted=no&keywords=k")
    assert found == Mailto(("a@example.com",), (), (("keywords", "k"),))


def test_a_field_cannot_bring_another_one() -> None:
    assert parse_mailto("mailto:a@b.example?subject=x%0D%0ABcc:%20e@f.example").fields == (
        ("subject", "x Bcc: e@f.example"),
    )


@pytest.mark.parametrize(
    "uri",
    ["", "mailto:", "xmpp:a@b.example", "mailto:a", "mailto:a@b.example?x", "mailto:a@b.example?a:b=c", "mailto:a b@c.example",
     "mailto:?subject=x", "mailto:" + ",".join(f"a{n}@b.example" for n in range(9)), "mailto:a@b.example?" + "s" * 5_000],
)  # fmt: skip
def test_what_is_none_is_refused(uri: str) -> None:
    with pytest.raises(BadMailto):
        parse_mailto(uri)
