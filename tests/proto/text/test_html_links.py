"""The quick road to the links and text of HTML, which nothing in a message may block."""

from __future__ import annotations

import pytest

from mailbox_app.proto.text.html_links import read_html


@pytest.mark.parametrize("digits", [8, 9, 4_000, 5_000, 60_000])
def test_a_character_number_of_any_length_is_read(digits: int) -> None:
    """An error here would keep every check of content, attachments too, from looking at the message."""
    number = "9" * digits
    text, links = read_html(f"<p>a&#{number};b&#65;<a href='https://x.example/&#{number}'>c</a>&#{number}")
    assert text.startswith(" a\ufffdbA")
    assert links[0].href == "https://x.example/\ufffd"


def test_hexadecimal_numbers_of_any_length_are_read() -> None:
    assert read_html("a&#x" + "F" * 60_000 + ";b&#x41;")[0] == "a\ufffdbA"
