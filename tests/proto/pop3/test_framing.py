from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.pop3.framing import OVERLONG, LineFramer, Overlong

LIMIT = 20


def read(pieces: list[bytes], limit: int = LIMIT) -> list[bytes | Overlong]:
    framer = LineFramer(limit)
    lines: list[bytes | Overlong] = []
    for piece in pieces:
        framer.feed(piece)
        while (line := framer.next_line()) is not None:
            lines.append(line)
        assert framer.buffered <= limit + 1, "what waits for its end is bounded"
    return lines


def test_lines_end_with_crlf_or_lf_and_the_rest_waits() -> None:
    assert read([b"NOOP\r\nSTAT\nLIS"]) == [b"NOOP", b"STAT"]


def test_a_line_of_the_limit_is_read_and_a_longer_one_is_told_once() -> None:
    assert read([b"a" * LIMIT + b"\r\n" + b"b" * (LIMIT + 1) + b"\r\nNOOP\r\n"]) == [b"a" * LIMIT, OVERLONG, b"NOOP"]


def test_an_endless_line_costs_no_memory_and_its_rest_is_no_command() -> None:
    assert read([b"x" * 1_000_000] * 5 + [b"QUIT\r\nNOOP\r\n"]) == [OVERLONG, b"NOOP"]


def test_whether_anything_waits_is_known() -> None:
    framer = LineFramer(LIMIT)
    framer.feed(b"STLS\r\nU")
    assert framer.next_line() == b"STLS"
    assert framer.within_command


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"x" * 19, b"y" * 25, b"\0"])), st.data())
def test_cuts_make_no_difference(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    wanted = read([whole[i : i + 1] for i in range(len(whole))])
    assert read(pieces) == wanted
    assert [line for line in wanted if line is not OVERLONG] == [
        line for each in whole.split(b"\n")[:-1] if len(line := each.removesuffix(b"\r")) <= LIMIT
    ]
