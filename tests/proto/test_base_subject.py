import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.base_subject import base_subject, strip_subject
from mailbox_app.proto.header import decode_words

PIECES = [
    "re",
    "Re",
    "fw",
    "FWD",
    ":",
    " ",
    "[",
    "]",
    "(fwd)",
    "(Fwd)",
    "[fwd:",
    "[a]",
    "x",
    "y z",
    "\t",
    "  ",
    "é",
    ")",
    "re[2]:",
]


@pytest.mark.parametrize(
    ("subject", "base", "is_reply"),
    [
        ("hello", "hello", False),
        ("Re: hello", "hello", True),
        ("RE : [list] hello", "hello", True),
        ("[list] Re: hello", "hello", True),
        ("[list][two] hello", "hello", False),
        ("Re[5]: hello", "hello", True),
        ("re [a] : fwd: hello (fwd) (FWD)", "hello", True),
        ("[fwd: Re: [x] hello]", "hello", True),
        ("[Fwd: [fwd: hello (fwd)]]", "hello", True),
        ("[only]", "[only]", False),
        ("[a] [only]", "[only]", False),
        ("[a][b] ", "[b]", False),
        ("Re: [a]", "[a]", True),
        ("Re:", "", True),
        ("", "", False),
        ("  two   spaces\there ", "two spaces here", False),
        ("Reply: no mark", "Reply: no mark", False),
        ("fwdx: no", "fwdx: no", False),
        ("[not closed Re: x", "[not closed Re: x", False),
        ("(fwd)", "", True),
        ("hello(fwd)", "hello", True),
        ("[fwd: ]", "", True),
    ],
)
def test_marks_are_taken_off(subject: str, base: str, is_reply: bool) -> None:
    assert strip_subject(subject) == (base, is_reply)
    assert base_subject(subject.encode()) == (base, is_reply)


def test_encoded_words_are_read_first() -> None:
    assert base_subject(b"=?utf-8?q?Re=3A_gr=C3=BC=C3=9Fe?=") == ("grüße", True)
    assert base_subject(b"Re: folded\r\n subject") == ("folded subject", True)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_a_base_is_its_own_base_and_the_quick_way_says_the_same(subject: str) -> None:
    base, _ = strip_subject(subject)
    assert strip_subject(base) == (base, False)
    raw = subject.encode()
    assert base_subject(raw) == strip_subject(decode_words(raw))


@given(st.binary(max_size=60))
def test_any_bytes(raw: bytes) -> None:
    assert base_subject(raw) == strip_subject(decode_words(raw))


def test_long_hostile_subjects_take_linear_time() -> None:
    for piece in ("[a]", "re:", "(fwd)", "[fwd:", "[", "] ", "[a] re", "re [x]"):
        strip_subject(piece * 50_000)
