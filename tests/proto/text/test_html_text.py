from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.text.html_text import HtmlText


def text_of(html: str, piece_length: int = 0) -> str:
    document = HtmlText()
    if not piece_length:
        return document.feed(html, True)
    pieces = [document.feed(html[start : start + piece_length]) for start in range(0, len(html), piece_length)]
    return "".join(pieces) + document.feed("", True)


CASES = [
    ("plain", "plain"),
    ("<p>one</p><p>two</p>", "one\ntwo"),
    ("wor<b>ld</b>", "world"),
    ("a  \r\n\t b", "a b"),
    ("a<br>b<BR/>c", "a\nb\nc"),
    ("<style>p { color: red }</style>text", "text"),
    ("<script type='x'>if (a<b) '</scr'</script >text", "text"),
    ("a<!-- <b>no</b> -->b<!-->c<!--->d", "abcd"),
    ("<SCRIPT>never closed", ""),
    ("a<!-- never closed", "a"),
    ("5 < 6 and 7 > 6", "5 < 6 and 7 > 6"),
    ("&lt;p&gt; &amp;amp; &eacute;&#233;&#xE9; &nosuch; &copy 1", "<p> &amp; ééé &nosuch; © 1"),
    ("&#128;&#0;&#xD800;&#x110000;&#99999999;", "€\ufffd\ufffd\ufffd\ufffd"),
    ("&#" + "0" * 20 + "65;", "A"),
    ("<img src='data:" + "x" * 5000 + "'>picture", "picture"),
    ("a&nbsp;b", "a\u00a0b"),
    ("<td>a</td><td>b</td>", "a\nb"),
    ("<!DOCTYPE html><?xml?><title>T</title><body>B", "T\nB"),
    ("end &am", "end &am"),
    ("<p>a</p> <", "a\n<"),
    ("<scripture>holy</scripture>", "holy"),
]


@pytest.mark.parametrize(("html", "text"), CASES)
@pytest.mark.parametrize("piece_length", [0, 1, 2, 3, 7, 64])
def test_text_of_html_whole_and_in_pieces(html: str, text: str, piece_length: int) -> None:
    assert text_of(html, piece_length) == text


def test_a_number_of_thousands_of_digits_is_no_character() -> None:
    assert text_of("&#" + "9" * 5000 + ";&#x" + "f" * 5000 + ";") == "\ufffd\ufffd"


SNIPPETS = st.lists(
    st.one_of(
        st.sampled_from([
            "<", ">", "&", ";", "<p>", "</p>", "<b a='x'>", "<!--", "-->", "<script>", "</script>", "<style ", "</style", "&amp;",
            "&#x41;", "&lt", " ", "\n", "-", "/", "!", '"', "<br", "&nbsp;", "--", "<!", "x" * 70, "<a " + "y" * 70,
        ]),
        st.text(max_size=5),
    ),
    max_size=30,
).map("".join)  # fmt: skip


@given(SNIPPETS, st.integers(1, 40))
def test_nothing_fails_and_what_is_kept_is_short(html: str, piece_length: int) -> None:
    document = HtmlText()
    for start in range(0, len(html), piece_length):
        document.feed(html[start : start + piece_length])
        assert len(document._rest) < 128
    document.feed("", True)
    assert len(text_of(html)) <= 2 * len(html) + 2


@given(st.text(alphabet=st.characters(blacklist_characters="<&\x00")))
def test_words_without_markup_are_kept(text: str) -> None:
    assert text_of(text).split() == text.split()


@pytest.mark.parametrize(
    "unit", ["<a", "<script>", "<!--", "<", "&", "&#", "<script", "</", "<a ", "<p>", "&amp;", "<!---->", " \n", "&a"]
)
def test_long_nonsense_takes_steps_in_proportion(unit: str) -> None:
    # a quadratic pass over these megabytes would take minutes
    text_of(unit * (3_000_000 // len(unit)), 65_536)
    text_of(unit * (3_000_000 // len(unit)))
