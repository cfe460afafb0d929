"""Chains that cannot be read: a result each time, whatever strangers write."""

from __future__ import annotations

import pytest

from mailbox_app.mailauth.arc import read_chain
from mailbox_app.mailauth.results import ArcResult, Result
from mailbox_app.proto.header import Header

SET = (
    b"ARC-Seal: i=1; a=rsa-sha256; cv=none; d=e.example; s=s; t=%b; b=AAAA\r\n"
    b"ARC-Message-Signature: i=1; a=rsa-sha256; c=relaxed/relaxed; d=e.example; s=s; h=from; l=%b; t=%b; x=%b;\r\n"
    b"\tbh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n"
    b"ARC-Authentication-Results: i=1; x; spf=pass\r\n\r\n"
)


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("digits", [1, 20, 5_000])
def test_numbers_of_any_length_break_the_chain_and_nothing_else(place: int, digits: int) -> None:
    numbers = [b"1"] * 4
    numbers[place] = b"9" * digits
    found = read_chain(Header.parse(SET % tuple(numbers)))
    if digits == 5_000:
        assert isinstance(found, ArcResult)
        assert found.result is Result.FAIL
