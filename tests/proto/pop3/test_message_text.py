from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.pop3.message_text import MessageText

PIECES = st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b".", b"..", b"a", b"Subject: x", b"\r\n.\r\n", b"\r\n\r\n"]))


def sent(data: bytes, cuts: list[int], lines: int | None = None) -> bytes:
    text = MessageText(lines)
    out = b""
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        if not text.done:
            out += text.piece(data[start:end])
    return out + text.end()


def received(wire: bytes) -> bytes:
    """What a client makes of it, line by line."""
    assert wire.endswith(b"\r\n.\r\n") or wire == b".\r\n"
    lines = wire.split(b"\r\n")[:-2]
    assert b"." not in lines, "the text ends only once"
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)


def normal(data: bytes) -> bytes:
    """Every line with CR LF, the last one too."""
    data = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return data if not data or data.endswith(b"\r\n") else data + b"\r\n"


def head(data: bytes, count: int) -> bytes:
    """The header, the empty line, and so many lines more."""
    lines = data.split(b"\r\n")[:-1]
    body = lines.index(b"") + 1 if b"" in lines else len(lines)
    return b"".join(line + b"\r\n" for line in lines[: body + count])


@given(PIECES, st.data())
def test_a_client_gets_the_message_however_it_was_cut(parts: list[bytes], data: st.DataObject) -> None:
    message = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(message)), max_size=5)))
    assert received(sent(message, cuts)) == normal(message)
    assert sent(message, list(range(len(message)))) == sent(message, [])


@given(PIECES, st.integers(0, 5), st.data())
def test_top_is_the_header_and_so_many_lines(parts: list[bytes], lines: int, data: st.DataObject) -> None:
    message = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(message)), max_size=5)))
    assert received(sent(message, cuts, lines)) == head(normal(message), lines)


def test_top_reads_no_more_than_it_needs() -> None:
    text = MessageText(1)
    text.piece(b"a: b\r\n\r\none\r\ntwo\r\n")
    assert text.done
