from __future__ import annotations

import types

import dkim
import pytest
from cryptography.hazmat.primitives import serialization

from mailbox_app.accounts.dkim_keys import key_pair
from mailbox_app.db.offload import Offload
from mailbox_app.mailauth.arc_seal import ArcSealer
from mailbox_app.mailauth.checks import SenderChecks
from mailbox_app.mailauth.dkim_sign import SigningKey
from mailbox_app.mailauth.results import ArcResult, AuthResults, Result
from mailbox_app.proto.header import Header, header_end
from tests.mailauth.zone import ZoneResolver

PEM, TXT = key_pair("rsa")
ED_PEM, _ = key_pair("ed25519")
KEY = SigningKey("list.example", "s1", "rsa", PEM)
ZONE = {("s1._domainkey.list.example", "TXT"): [TXT]}
MESSAGE = (
    b"Received: by x\r\nFrom: Ann <ann@a.example>\r\nTo: list@list.example\r\nSubject: folded\r\n  \t subject \r\n"
    b"DKIM-Signature: v=1; a=rsa-sha256\r\n\r\nBody  text \r\n\r\n\r\n"
)
NONE = ArcResult(Result.NONE)
FIELD = b"Authentication-Results: mx.example;\r\n\tspf=pass smtp.mailfrom=ann@a.example\r\n"


def of_dkimpy(name: bytes, timeout: int = 5) -> bytes:
    return TXT.encode() if name.rstrip(b".") == b"s1._domainkey.list.example" else b""


async def judge(message: bytes) -> AuthResults:
    offload = Offload(1)
    checks = SenderChecks(ZoneResolver(ZONE), offload, "mx.example", check_private_clients=True)
    split = header_end(message)
    found = await checks.check(
        remote_ip="192.0.2.1",
        helo="list.example",
        sender="ann@a.example",
        header=Header.parse(message[:split]),
        body=message[split:],
        timeout_seconds=5,
    )
    offload.close()
    return found


def seal(message: bytes, arc: ArcResult, *, keys=(KEY,), authres: bytes = FIELD) -> bytes:
    split = header_end(message)
    return ArcSealer().seal(keys, message[:split], message[split:], authres=authres, arc=arc, now_seconds=1_700_000_000)


async def test_what_we_seal_dkimpy_and_we_verify_hop_by_hop():
    message = MESSAGE
    for hop in range(1, 4):
        found = await judge(message)
        message = seal(message, found.arc, authres=found.field) + message
        assert dkim.arc_verify(message, dnsfunc=of_dkimpy)[0] == b"pass"
        again = (await judge(message)).arc
        assert (again.result, again.instance, again.oldest_pass) == (Result.PASS, hop, 0)
    assert again.sets[0].results.startswith("mx.example;")
    assert again.sets[2].results.count("arc=pass") == 1


def parse(text: str) -> types.SimpleNamespace:
    """What dkimpy asks of a reader of Authentication-Results."""
    service, *results = text.partition(":")[2].split(";")
    return types.SimpleNamespace(authserv_id=service.strip(), results=[Told(each.strip()) for each in results])


class Told:
    def __init__(self, text: str) -> None:
        self.text = text
        self.method, _, rest = text.partition("=")
        self.result = rest.split()[0]

    def __str__(self) -> str:
        return self.text


async def test_what_dkimpy_seals_we_verify_hop_by_hop(monkeypatch):
    reader = types.SimpleNamespace(
        AuthenticationResultsHeader=types.SimpleNamespace(parse=parse),
        core=types.SimpleNamespace(SyntaxError=ValueError),
    )
    monkeypatch.setattr(dkim, "authres", reader, raising=False)
    private = serialization.load_pem_private_key(PEM, None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    message = MESSAGE
    for hop in range(1, 4):
        state = b"pass" if hop > 1 else b"none"
        message = b"Authentication-Results: mx.example; spf=pass; arc=" + state + b"\r\n" + message
        if hop > 1:  # only the newest may speak for this hop
            first, _, rest = message.partition(b"\r\n")
            message = first + b"\r\n" + rest.replace(b"Authentication-Results: mx.example; spf", b"X-Old: mx; spf")
        fields = dkim.arc_sign(message, b"s1", b"list.example", private, b"mx.example", timestamp="1700000000")
        message = b"".join(fields) + message
        found = (await judge(message)).arc
        assert (found.result, found.reason, found.instance) == (Result.PASS, "", hop)


async def test_a_broken_chain_is_sealed_alone_and_never_again():
    message = seal(MESSAGE, NONE) + MESSAGE
    message = message.replace(b"spf=pass", b"spf=fail")
    found = (await judge(message)).arc
    assert found.result is Result.FAIL
    added = seal(message, found)
    assert b"cv=fail" in added
    assert b"i=2;" in added
    message = added + message
    again = (await judge(message)).arc
    assert (again.result, again.ended) == (Result.FAIL, True)
    assert seal(message, again) == b""


@pytest.mark.parametrize(
    ("arc", "keys"),
    [
        (ArcResult(Result.TEMPERROR, instance=1), (KEY,)),
        (ArcResult(Result.PASS, instance=50), (KEY,)),
        (ArcResult(Result.PASS, instance=1), (KEY,)),
        (NONE, ()),
        (NONE, (SigningKey("list.example", "e1", "ed25519", ED_PEM),)),
    ],
)
def test_what_is_not_sealed(arc, keys):
    """Chains that could not be judged or are full, a header that is not the one judged, no key that verifiers know."""
    assert seal(MESSAGE, arc, keys=keys) == b""


async def test_a_file_is_sealed_as_its_bytes_are(tmp_path):
    path = tmp_path / "message"
    path.write_bytes(MESSAGE)
    split = header_end(MESSAGE)
    with path.open("rb") as file:
        file.seek(split)
        fields = ArcSealer().seal((KEY,), MESSAGE[:split], file, authres=FIELD, arc=NONE, now_seconds=1_700_000_000)
    assert fields == seal(MESSAGE, NONE)


def test_results_fields_and_arc_fields_are_not_covered():
    message = FIELD + b"ARC-Seal: x\r\n" + MESSAGE
    fields = seal(message, ArcResult(Result.FAIL, instance=1)).lower()
    names = fields.partition(b"h=")[2].partition(b";")[0]
    assert b"authentication-results" not in names
    assert b"arc-" not in names
    assert b"dkim-signature" in names
