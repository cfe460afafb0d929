from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.tui.daemon import HOSTILE, NOW
from tui.format import UNSAFE, age, bar, clean, clean_lines, fit, size, span_text, spark, state_word, until


@given(st.text())
def test_clean_leaves_nothing_a_terminal_obeys(text: str) -> None:
    cleaned = clean(text)
    assert not UNSAFE.search(cleaned)
    assert len(cleaned) == len(text)
    cleaned.encode()


def test_clean_keeps_readable_text() -> None:
    assert clean("Grüße an 李 [/foo] 🙂") == "Grüße an 李 [/foo] 🙂"
    assert "\x1b" not in clean(HOSTILE)
    assert "gnp.exe" in clean(HOSTILE)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc", "Cf"]), max_size=60), st.integers(1, 40))
def test_fit_gives_exactly_the_width(text: str, width: int) -> None:
    assert cell_len(fit(clean(text), width)) == width


def test_lines_of_a_block_are_separated_and_cleaned() -> None:
    assert clean_lines("a\r\n\tb\rc\nd\x1b") == ["a", "    b", "c", "d\ufffd"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59, "59s"),
        (60, "1m"),
        (3599, "59m"),
        (3600, "1h"),
        (172_800, "2d"),
        (86_400 * 100, "14w"),
        (-120, "-2m"),
        (-0.5, "0s"),
    ],
)
def test_durations_have_one_unit(seconds: float, text: str) -> None:
    assert span_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "-"), (0, "0"), (812, "812"), (12_288, "12k"), (3_300_000, "3.1M"), (44_000_000_000, "41G")],
)
def test_sizes_fit_five_cells(count: int | None, text: str) -> None:
    assert size(count) == text


@given(st.integers(0, 2**62))
def test_every_size_fits_five_cells(count: int) -> None:
    assert len(size(count)) <= 5


def test_times_relative_to_now() -> None:
    assert until(NOW + timedelta(minutes=2), NOW) == "2m"
    assert until(NOW - timedelta(seconds=5), NOW) == "now"
    assert until(NOW - timedelta(minutes=2), NOW) == "-2m"
    assert until(None, NOW) == "-"
    assert age(NOW - timedelta(hours=6), NOW) == "6h"


def test_overdue_rows_say_late_in_letters() -> None:
    assert state_word("deferred", NOW - timedelta(minutes=2), NOW)[0] == "late"
    assert state_word("deferred", NOW + timedelta(minutes=2), NOW)[0] == "DEFR"
    assert state_word("held", None, NOW)[0] == "HOLD"
    assert len(state_word("something new", None, NOW)[0]) == 4


@given(st.lists(st.integers(0, 10**9), max_size=80), st.integers(1, 70), st.booleans())
def test_sparklines_have_their_width_and_zero_is_lowest(history: list[int], width: int, ascii_only: bool) -> None:
    drawn = spark(history, width, ascii_only=ascii_only)
    assert len(drawn) == width
    assert drawn.isascii() == ascii_only
    if not any(history):
        assert len(set(drawn)) == 1


@given(st.floats(-1, 2), st.integers(0, 50), st.booleans())
def test_bars_have_their_width(fraction: float, width: int, ascii_only: bool) -> None:
    assert len("".join(bar(fraction, width, ascii_only=ascii_only))) == width
