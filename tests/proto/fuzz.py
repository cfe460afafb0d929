"""Throws random mail at every reader of mail content for a while: `python -m tests.proto.fuzz --seconds 60`.

Fails with the input that broke a rule: an exception, an ungrammatical answer, a difference between two ways of
cutting the same bytes.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import time

from mailbox_app.errors import ProtocolError
from mailbox_app.mailauth.canonical import BodyHash, CanonicalHeader
from mailbox_app.mailauth.dkim_verify import Signature, hash_body, read_signatures, verify
from mailbox_app.proto.address import parse_address, parse_address_list, parse_path
from mailbox_app.proto.authres import forged_authres
from mailbox_app.proto.dates import parse_date, parse_internal_date
from mailbox_app.proto.header import Header, decode_words
from mailbox_app.proto.parameters import parse_parameters
from tests.proto.imap_values import check_envelope, check_structure, read_value
from tests.proto.test_message import _FRAGMENTS, check_table, scan_in_pieces

_MORE = [
    b"DKIM-Signature: v=1; a=rsa-sha256; d=x; s=y; h=from:to; bh=", b"; b=", b"YWI=", b"c=relaxed/simple; ", b"l=5; ",
    b"Authentication-Results: a; none\r\n", b"=?utf-8?b?", b"?=", b"Mon, 5 Jan 2026 10:00:00 +0000", b"[1.2.3.4]", b"From: ",
]  # fmt: skip


def random_bytes(chance: random.Random) -> bytes:
    """Fragments that mean something, with some noise."""
    pieces = [chance.choice(_FRAGMENTS + _MORE) for _ in range(chance.randint(0, 60))]
    if chance.random() < 0.3:
        pieces.insert(chance.randint(0, len(pieces)), chance.randbytes(chance.randint(1, 20)))
    if chance.random() < 0.6:
        pieces.insert(
            0, b"Content-Type: multipart/mixed; boundary=b\r\n" + chance.choice([b"", b"\r\n", b"X: y\r\n\r\n"])
        )
    return b"".join(pieces)


def check_scanner(data: bytes, chance: random.Random) -> None:
    """Grammar, ranges, and the same answer for any cut."""
    limits = {}
    if chance.random() < 0.5:
        limits = {
            "header_limit_bytes": chance.randint(1, 100),
            "max_parts": chance.randint(1, 6),
            "max_depth": chance.randint(1, 5),
        }
    whole = scan_in_pieces(data, [len(data) + 1], **limits)
    assert scan_in_pieces(data, [chance.randint(1, 9) for _ in range(4)], **limits) == whole
    check_envelope(read_value(whole.envelope))
    check_structure(read_value(whole.bodystructure), extended=True)
    check_structure(read_value(whole.body), extended=False)
    check_table(whole, len(data))


def check_readers(data: bytes) -> None:
    """Readers that never fail, and those whose only error is `ProtocolError`."""
    header = Header.parse(data)
    forged_authres(header, "a")
    for field in header.fields:
        decode_words(field.value)
    parse_address_list(data)
    parse_parameters(data)
    parse_date(data)
    text = data.decode("latin-1")
    for read in (parse_address, lambda text: parse_path("<" + text, smtputf8=True)):
        try:
            read(text)
        except ProtocolError:
            continue
    with contextlib.suppress(ProtocolError):
        parse_internal_date(data)
    for item in read_signatures(header):
        if isinstance(item, Signature):
            verify(item, CanonicalHeader(header), [text[:200], "v=DKIM1; p=AAAA"], hash_body(data, [item.form]))


def check_canonical(data: bytes, chance: random.Random) -> None:
    """A body's hash does not depend on how it is read."""
    for relaxed in (False, True):
        whole, pieces = BodyHash(relaxed=relaxed, limits=[0, 20]), BodyHash(relaxed=relaxed, limits=[0, 20])
        whole.update(data)
        step = chance.randint(1, 5)
        for start in range(0, len(data), step):
            pieces.update(data[start : start + step])
        assert whole.digests() == pieces.digests()


def main() -> int:
    """Run until the time is over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=time.time_ns() & 0xFFFFFF)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    end = time.monotonic() + options.seconds
    count = 0
    while time.monotonic() < end:
        data = random_bytes(chance)
        try:
            check_scanner(data, chance)
            check_readers(data)
            check_canonical(data, chance)
        except Exception:
            print(f"seed {options.seed}, input {count}: {data!r}", file=sys.stderr)  # noqa: T201
            raise
        count += 1
    print(f"seed {options.seed}: {count} inputs, no fault")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
