"""PROXY headers: whole, byte by byte, with a rest, and everything that is none."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.proxy_header import MAX_BYTES, SIGNATURE, ProxyHeader, is_header, parse

V4 = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\r\n"


def v2(command: int, family: int, payload: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(payload).to_bytes(2, "big") + payload


TCP4 = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + (56324).to_bytes(2, "big") + (25).to_bytes(2, "big")
TCP6 = ipaddress.IPv6Address("2001:db8::7").packed + ipaddress.IPv6Address("2001:db8::1").packed + b"\0\1\0\x19"
MAPPED = ipaddress.IPv6Address("::ffff:192.0.2.7").packed * 2 + b"\0\1\0\x19"
TLV = b"\x04\x00\x03abc" + b"\x20\x00\x05\x01\0\0\0\0"

GOOD = {
    "v1 IPv4": (V4, "192.0.2.7"),
    "v1 IPv6": (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n", "2001:db8::7"),
    "v1 IPv4 in IPv6": (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 0 25\r\n", "192.0.2.7"),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", ""),
    "v1 unknown with more": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", ""),
    "v2 IPv4": (v2(0x21, 0x11, TCP4), "192.0.2.7"),
    "v2 IPv4 with TLVs": (v2(0x21, 0x11, TCP4 + TLV), "192.0.2.7"),
    "v2 IPv6": (v2(0x21, 0x21, TCP6), "2001:db8::7"),
    "v2 IPv4 in IPv6": (v2(0x21, 0x21, MAPPED), "192.0.2.7"),
    "v2 local": (v2(0x20, 0x00, b""), ""),
    "v2 local with addresses": (v2(0x20, 0x11, TCP4), ""),
    "v2 unspecified": (v2(0x21, 0x00, b"whatever"), ""),
    "v2 unix": (v2(0x21, 0x31, b"\0" * 216), ""),
    "v2 as long as may be": (v2(0x21, 0x11, TCP4 + b"\0" * (MAX_BYTES - 16 - 12)), "192.0.2.7"),
}
BAD = {
    "other words": b"EHLO x\r\n",
    "a TLS client": b"\x16\x03\x01\x02\x00\x01",
    "lower case": b"proxy tcp4 1.2.3.4 1.2.3.4 1 1\r\n",
    "no addresses": b"PROXY TCP4\r\n",
    "wrong family": b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
    "wrong family too": b"PROXY TCP6 192.0.2.7 192.0.2.8 1 2\r\n",
    "octet too large": b"PROXY TCP4 192.0.2.256 192.0.2.8 1 2\r\n",
    "bad destination": b"PROXY TCP4 192.0.2.6 192.0.2 1 2\r\n",
    "port too large": b"PROXY TCP4 192.0.2.6 192.0.2.7 65536 2\r\n",
    "port with a zero": b"PROXY TCP4 192.0.2.6 192.0.2.7 025 2\r\n",
    "two spaces": b"PROXY TCP4  192.0.2.6 192.0.2.7 1 2\r\n",
    "more words": b"PROXY TCP4 192.0.2.6 192.0.2.7 1 2 3\r\n",
    "bare LF": b"PROXY TCP4 192.0.2.6 192.0.2.7 1 2\n",
    "UDP": b"PROXY UDP4 192.0.2.6 192.0.2.7 1 2\r\n",
    "too long a line": b"PROXY UNKNOWN " + b"x" * 100,
    "v2 next version": v2(0x31, 0x11, TCP4),
    "v2 other command": v2(0x22, 0x11, TCP4),
    "v2 UDP": v2(0x21, 0x12, TCP4),
    "v2 too short": v2(0x21, 0x11, TCP4[:11]),
    "v2 too short for IPv6": v2(0x21, 0x21, TCP4),
    "v2 too long": SIGNATURE + b"\x21\x11\xff\xff",
    "v2 one byte too long": v2(0x21, 0x11, TCP4 + b"\0" * (MAX_BYTES - 16 - 11)),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_header_is_read_whole_bytewise_and_with_a_rest(name: str) -> None:
    data, client_ip = GOOD[name]
    expected = ProxyHeader(client_ip, len(data))
    assert parse(data) == expected
    assert parse(data + b"EHLO x\r\n") == expected
    for end in range(len(data)):
        assert parse(data[:end]) is None


@pytest.mark.parametrize("name", BAD)
def test_anything_else_is_refused_at_once(name: str) -> None:
    with pytest.raises(ProtocolError):
        parse(BAD[name])


def test_what_looks_like_a_header_is_told() -> None:
    assert is_header(V4)
    assert is_header(v2(0x20, 0, b""))
    assert not is_header(b"EHLO x\r\n")


@given(st.ip_addresses(v=4), st.integers(0, 65535), st.binary(max_size=40))
def test_every_ipv4_client_comes_out_as_it_went_in(client: ipaddress.IPv4Address, port: int, rest: bytes) -> None:
    line = f"PROXY TCP4 {client} 192.0.2.1 {port} 25\r\n".encode()
    binary = v2(0x21, 0x11, client.packed + b"\xc0\0\2\1" + port.to_bytes(2, "big") + b"\0\x19")
    for data in (line, binary):
        assert parse(data + rest) == ProxyHeader(str(client), len(data))


@given(st.binary(max_size=600), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ", SIGNATURE]))
def test_no_input_is_misread(data: bytes, start: bytes) -> None:
    data = start + data
    try:
        header = parse(data)
    except ProtocolError:
        return
    if header is None:
        assert len(data) < MAX_BYTES
    else:
        assert header.length <= min(len(data), MAX_BYTES)
        assert not header.client_ip or ipaddress.ip_address(header.client_ip)
