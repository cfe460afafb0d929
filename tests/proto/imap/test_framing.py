from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.imap.framing import Announced, Chunk, Complete, Event, Framer, FramingLimits, Overlong

LIMITS = FramingLimits(line_bytes=200, literal_bytes=100, command_bytes=300, literals=3)


def read(data: list[bytes], decide: str = "collect", limits: FramingLimits = LIMITS) -> list[Event]:
    """All events; streamed pieces are joined so that chunking does not show."""
    framer = Framer(limits)
    events: list[Event] = []
    for piece in data:
        framer.feed(piece)
        while (event := framer.next_event()) is not None:
            if isinstance(event, Announced):
                getattr(framer, decide)()
            if isinstance(event, Chunk) and events and isinstance(events[-1], Chunk) and not events[-1].last:
                events[-1] = Chunk(events[-1].data + event.data, event.last)
            else:
                events.append(event)
    return events


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def test_a_line_is_a_command() -> None:
    assert read([b"a NOOP\r\nb NOO"]) == [Complete(b"a NOOP")]


def test_a_bare_line_feed_ends_a_line() -> None:
    assert read([b"a NOOP\n"]) == [Complete(b"a NOOP")]


def test_collected_literals_stand_in_the_command() -> None:
    wanted = [
        Announced(b"a LOGIN {3}", 3, True),
        Announced(b"a LOGIN {3}\r\nbob {2+}", 2, False),
        Complete(b"a LOGIN {3}\r\nbob {2+}\r\nxy"),
    ]
    data = b"a LOGIN {3}\r\nbob {2+}\r\nxy\r\n"
    assert read([data]) == wanted
    assert read(bytewise(data)) == wanted
    assert read([data + b"c NO"]) == wanted


def test_streamed_literal_comes_in_pieces_and_the_text_starts_anew() -> None:
    data = b"a APPEND x {5+}\r\nhello\r\nb NOOP\r\n"
    wanted = [
        Announced(b"a APPEND x {5+}", 5, False),
        Chunk(b"hello", True),
        Complete(b""),
        Complete(b"b NOOP"),
    ]
    assert read([data], "stream") == wanted
    assert read(bytewise(data), "stream") == wanted


def test_streamed_empty_literal_gives_one_piece() -> None:
    assert read([b"a APPEND x {0+}\r\n\r\n"], "stream")[1:] == [Chunk(b"", True), Complete(b"")]


def test_refused_synchronising_literal_is_not_sent() -> None:
    assert read([b"a X {5}\r\nb NOOP\r\n"], "refuse")[1:] == [Complete(b"b NOOP")]


def test_refused_non_synchronising_literals_are_skipped_to_the_commands_end() -> None:
    data = b"a X {8+}\r\nb EVIL\r\n {3+}\r\nabc tail\r\nc NOOP\r\n"
    for pieces in ([data], bytewise(data)):
        assert read(pieces, "refuse")[1:] == [Complete(b"c NOOP")]


def test_limits_refuse_a_literal() -> None:
    assert read([b"a X {101+}\r\n" + b"y" * 101 + b"\r\nb NOOP\r\n"])[1:] == [Complete(b"b NOOP")]
    data = b"a X {1+}\r\nx {1+}\r\nx {1+}\r\nx {1+}\r\nx\r\nb NOOP\r\n"
    assert read([data])[-1] == Complete(b"b NOOP")
    assert len(read([data])) == 5
    four_gib = b"a X {4294967296}\r\nb NOOP\r\n"
    assert read([four_gib])[1:] == [Complete(b"b NOOP")]


def test_an_overlong_line_is_told_once_and_skipped_with_its_literal() -> None:
    data = b"a " + b"x" * 500 + b" {8+}\r\nb EVIL\r\n\r\nc NOOP\r\n"
    for pieces in ([data], bytewise(data)):
        events = read(pieces)
        assert isinstance(events[0], Overlong)
        assert events[1:] == [Complete(b"c NOOP")]


def test_memory_is_bounded_while_a_line_does_not_end() -> None:
    framer = Framer(LIMITS)
    for _ in range(1000):
        framer.feed(b"x" * 1000)
        framer.next_event()
    assert framer.buffered < 1300


@given(st.binary(max_size=300), st.sampled_from(["collect", "stream", "refuse"]), st.data())
def test_chunking_never_matters(data: bytes, decide: str, draw: st.DataObject) -> None:
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=5)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    whole = [event for event in read([data], decide) if not isinstance(event, Overlong)]
    split = [event for event in read(pieces, decide) if not isinstance(event, Overlong)]
    whole, split = ([e for e in events if not (isinstance(e, Chunk) and not e.last)] for events in (whole, split))
    assert whole == split


@given(
    st.lists(st.sampled_from([b"{3+}", b"{3}", b"\r\n", b"\n", b"a", b" ", b"{", b"}", b"{99999999999+}"]), max_size=40)
)
def test_hostile_streams_never_raise(pieces: list[bytes]) -> None:
    for decide in ("collect", "stream", "refuse"):
        read(pieces, decide)


def test_a_literal8_is_told_apart() -> None:
    data = b"a APPEND x ~{3+}\r\na\0b\r\nb NOOP\r\n"
    for pieces in ([data], bytewise(data)):
        assert read(pieces, "stream") == [
            Announced(b"a APPEND x ~{3+}", 3, False, True),
            Chunk(b"a\0b", True),
            Complete(b""),
            Complete(b"b NOOP"),
        ]
    assert read([data], "refuse")[1:] == [Complete(b"b NOOP")]


def test_a_huge_announcement_is_refused_without_waiting_for_it() -> None:
    assert read([b"a APPEND x {4294967296}\r\nb NOOP\r\n"], "refuse")[1:] == [Complete(b"b NOOP")]
    assert len(read([b"a APPEND x {4294967296+}\r\nb NOOP\r\n"], "refuse")) == 1
