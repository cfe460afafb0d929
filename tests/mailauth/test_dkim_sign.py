from __future__ import annotations

import base64
import io
import re
import types

import dkim
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.accounts.dkim_keys import key_pair
from mailbox_app.errors import MailboxError
from mailbox_app.mailauth import dkim_sign
from mailbox_app.mailauth.dkim_sign import DkimSigner, SigningKey

RSA_PEM, RSA_TXT = key_pair("rsa")
ED_PEM, ED_TXT = key_pair("ed25519")
RSA = SigningKey("example.org", "r1", "rsa", RSA_PEM)
ED = SigningKey("example.org", "e1", "ed25519", ED_PEM)
NOW = 1_700_000_000
HEADER = b"From: Alice <alice@example.org>\r\nTo: bob@example.net\r\nSubject:  a \t b\r\n  c \r\nX-Other: 1\r\n\r\n"
SIGNER = DkimSigner()

# Pieces that make every rule of the relaxed form matter.
bodies = st.lists(
    st.sampled_from(
        [b" ", b"  ", b"\t", b"\r\n", b"\r\n\r\n", b"a", b"word", b" \r\n", b"\r", b"\n", b"\x00", b"\xff"]
    ),
    max_size=30,
).map(b"".join)


class _VerifyKey:
    """What dkimpy asks of PyNaCl, by cryptography."""

    def __init__(self, key: bytes, encoder: object) -> None:
        self._key = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(key))

    def verify(self, digest: bytes, signature: bytes) -> None:
        self._key.verify(signature, digest)


@pytest.fixture(autouse=True)
def _ed25519_for_dkimpy(monkeypatch):
    nacl = types.SimpleNamespace(
        signing=types.SimpleNamespace(VerifyKey=_VerifyKey),
        encoding=types.SimpleNamespace(Base64Encoder=None),
        exceptions=types.SimpleNamespace(ValueError=ValueError, BadSignatureError=InvalidSignature),
    )
    monkeypatch.setattr(dkim, "nacl", nacl, raising=False)


def on_the_wire(body: bytes) -> bytes:
    """A server's DATA always ends with a line end."""
    return body if not body or body.endswith(b"\r\n") else body + b"\r\n"


def dkimpy_accepts(message: bytes) -> bool:
    def find_key(name, timeout=5):
        return (ED_TXT if name.startswith(b"e1.") else RSA_TXT).encode()

    return dkim.verify(message, dnsfunc=find_key)


@given(body=bodies.map(lambda raw: re.sub(rb"(?<!\r)\n|\r(?!\n)", b"", raw)))
@pytest.mark.parametrize("key", [RSA, ED], ids=["rsa", "ed25519"])
def test_dkimpy_verifies_every_signature(key, body):
    field = SIGNER.sign([key], HEADER, body, NOW)
    assert dkimpy_accepts(field + HEADER + on_the_wire(body))


@given(body=bodies, cuts=st.lists(st.integers(1, 5), min_size=1, max_size=10))
def test_the_way_a_body_is_read_makes_no_difference(body, cuts):
    class Trickle(io.BytesIO):
        def read(self, size=-1):
            cuts.append(cuts.pop(0))
            return super().read(cuts[-1])

    assert SIGNER.sign([ED], HEADER, Trickle(body), NOW) == SIGNER.sign([ED], HEADER, body, NOW)


def test_a_file_is_read_from_where_it_stands():
    file = io.BytesIO(HEADER + b"text\r\n")
    file.seek(len(HEADER))
    assert SIGNER.sign([ED], HEADER, file, NOW) == SIGNER.sign([ED], HEADER, b"text\r\n", NOW)


def test_pieces_larger_than_one_read_and_many_line_ends_at_the_seams():
    body = (b"x" * 65_535 + b"\r\n" + b" " * 70_000 + b"\r\n" * 40_000) * 2 + b"end"
    assert dkimpy_accepts(SIGNER.sign([RSA], HEADER, body, NOW) + HEADER + on_the_wire(body))


def test_one_field_per_key_and_none_without():
    assert SIGNER.sign([], HEADER, b"", NOW) == b""
    fields = SIGNER.sign([RSA, ED], HEADER, b"", NOW)
    assert fields.count(b"DKIM-Signature: ") == 2
    assert fields.endswith(b"\r\n")
    assert max(map(len, fields.split(b"\r\n"))) <= 78


def test_fields_that_may_occur_once_are_named_once_more_than_they_occur():
    field = SIGNER.sign([RSA], HEADER, b"", NOW)
    names = re.sub(rb"\s", b"", re.search(rb"h=([^;]*);", field)[1]).split(b":")
    assert names.count(b"from") == names.count(b"subject") == names.count(b"to") == 2
    for name in (b"cc", b"date", b"message-id", b"reply-to", b"in-reply-to", b"references", b"mime-version"):
        assert names.count(name) == 1
    assert b"x-other" not in names
    assert b"l=" not in field


@pytest.mark.parametrize("added", [b"From: eve@example.com\r\n", b"Subject: sale\r\n", b"Cc: eve@example.com\r\n"])
def test_a_field_added_on_the_way_breaks_the_signature(added):
    field = SIGNER.sign([RSA], HEADER, b"text\r\n", NOW)
    assert dkimpy_accepts(field + HEADER + b"text\r\n")
    assert not dkimpy_accepts(field + added + HEADER + b"text\r\n")


def test_several_fields_of_one_name_are_signed_from_the_bottom():
    header = b"From: a@example.org\r\nTo: one@example.net\r\nTo: two@example.net\r\nList-Id: a\r\nList-Id: b\r\n\r\n"
    assert dkimpy_accepts(SIGNER.sign([RSA], header, b"", NOW) + header)


@pytest.mark.parametrize("pem", [b"", b"not a key", key_pair("rsa")[0][:200]])
def test_a_key_that_cannot_be_used_is_local_trouble(pem):
    with pytest.raises(MailboxError) as caught:
        SIGNER.sign([SigningKey("example.org", "s", "rsa", pem)], HEADER, b"", NOW)
    assert caught.value.code == "dkim.bad_key"
    assert caught.value.temporary


@pytest.mark.parametrize("name", ["", "a;b", "a\r\nb", "a b"])
def test_a_selector_that_is_no_name_is_refused(name):
    with pytest.raises(MailboxError):
        SIGNER.sign([SigningKey("example.org", name, "rsa", RSA_PEM)], HEADER, b"", NOW)


def test_an_international_domain_is_signed_for_in_its_ascii_form():
    field = SIGNER.sign([SigningKey("bücher.example", "s", "ed25519", ED_PEM)], HEADER, b"", NOW)
    assert b"d=xn--bcher-kva.example;" in field


def test_public_halves_are_ready_for_dns():
    assert re.fullmatch(r"v=DKIM1; k=rsa; p=[A-Za-z0-9+/]+=*", RSA_TXT)
    assert re.fullmatch(r"v=DKIM1; k=ed25519; p=[A-Za-z0-9+/]{43}=", ED_TXT)


def test_a_signature_that_our_own_verifier_refuses_does_not_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    private, _ = key_pair("ed25519")
    monkeypatch.setattr(dkim_sign, "sign_data", lambda _private, _data: base64.b64encode(bytes(64)))
    with pytest.raises(MailboxError, match=r"dkim\.not_verified"):
        DkimSigner().sign(
            [SigningKey("example.org", "one", "ed25519", private)], b"From: a@example.org\r\n\r\n", b"hi\r\n", 1
        )
