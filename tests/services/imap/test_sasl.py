"""AUTHENTICATE over real TLS on the daemon's loop, against real accounts."""

from __future__ import annotations

import asyncio
import base64
import datetime
import shutil
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mailbox_app.accounts.directory import SqliteDirectory
from mailbox_app.accounts.login import PasswordAuthenticator
from mailbox_app.accounts.passwords import Hasher
from mailbox_app.accounts.sasl import Sasl, TokenOwner
from mailbox_app.config.schema import Tls
from mailbox_app.net.channel import end_point_hash, exported
from mailbox_app.net.tls import TlsContexts
from mailbox_app.services.imap.dependencies import ImapDependencies
from mailbox_app.services.imap.server import ImapService
from tests.support.imap_server import imap_server
from tests.support.sasl_client import ScramClient

ALICE, PASSWORD = "alice@example.org", "correct horse battery"


@pytest.fixture(scope="session")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return uvloop.EventLoopPolicy()


class Tokens:
    scope = "mail"
    configuration_url = ""

    async def verify(self, token: str) -> TokenOwner | None:
        return TokenOwner((ALICE,)) if token == "good" else None


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.tls = writer.get_extra_info("ssl_object")

    async def line(self) -> bytes:
        line = await asyncio.wait_for(self.reader.readline(), 10)
        assert line.endswith(b"\r\n"), line
        return line[:-2]

    async def say(self, data: bytes) -> bytes:
        self.writer.write(data + b"\r\n")
        return await self.line()

    async def answer(self, data: bytes) -> bytes:
        return await self.say(base64.b64encode(data))

    async def scram(self, mechanism: str, client: ScramClient) -> bytes:
        first = await self.say(f"a AUTHENTICATE {mechanism} {base64.b64encode(client.first()).decode()}".encode())
        if not first.startswith(b"+ "):
            return first
        reached = await self.answer(client.final(base64.b64decode(first[2:])))
        if not reached.startswith(b"+ "):
            return reached
        assert client.check(base64.b64decode(reached[2:])), "the server proves itself too"
        return await self.say(b"")


class Desk:
    def __init__(self, folder: Path, dependencies: ImapDependencies) -> None:
        self.ca_key, self.ca = _certificate("Test CA", None)
        (folder / "ca.pem").write_bytes(self.ca.public_bytes(serialization.Encoding.PEM))
        self.folder = folder
        self.metrics = dependencies.metrics
        self.directory = SqliteDirectory(folder / "directory.db")
        self.directory.add_domain("example.org")
        hasher = Hasher()
        self.directory.add_account(ALICE, hasher.hash(PASSWORD), 0, hasher.scram_keys(PASSWORD))
        self.directory.add_account("old@example.org", hasher.hash(PASSWORD))
        self.logins = PasswordAuthenticator(
            self.directory, dependencies.offload, dependencies.clock, dependencies.metrics
        )
        self.tls = TlsContexts(Tls(client_ca_file=str(folder / "ca.pem")), folder, "mail.example.org")
        self.service = ImapService(
            replace(
                dependencies,
                authenticator=self.logins,
                sasl=Sasl(self.logins, proofs=self.logins, tokens=Tokens()),
                account_by_id=self.directory.account_by_id,
                tls=self.tls,
            )
        )

    async def listen(self) -> None:
        self.server = await asyncio.get_running_loop().create_server(
            self.service.factory("imaps"), "127.0.0.1", 0, ssl=self.tls.server_context()
        )
        self.port: int = self.server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self.server.close()
        await self.service.drain(1.0)
        await self.logins.close()
        self.directory.close()

    async def connect(
        self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, certificate: str = ""
    ) -> tuple[Client, bytes]:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = version
        if certificate:
            context.load_cert_chain(certificate)
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, ssl=context))
        return client, await client.line()

    def client_certificate(self, address: str) -> str:
        key, certificate = _certificate(address, (self.ca_key, self.ca))
        path = self.folder / f"{address}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return str(path)

    def count(self, result: str) -> float:
        labels = {"result": result, "protocol": "imap"}
        return self.metrics.registry.get_sample_value("mailserver_auth_attempts_total", labels) or 0.0


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with imap_server(tmp_path) as server:
        made = Desk(tmp_path, server.service.deps)
        await made.listen()
        yield made
        await made.close()


def exporter_of(client: Client) -> tuple[str, bytes]:
    value = exported(client.tls)
    assert value is not None
    return "tls-exporter", value


async def test_scram_in_all_its_forms(desk: Desk) -> None:
    end_point = end_point_hash((desk.folder / "certs/self-signed.pem").read_bytes())
    for hash_name, name in (("sha256", "SCRAM-SHA-256"), ("sha1", "SCRAM-SHA-1")):
        client, greeting = await desk.connect()
        assert f"AUTH={name}-PLUS AUTH={name} ".encode() in greeting
        login = ScramClient(ALICE, PASSWORD, hash_name=hash_name, binding=exporter_of(client))
        assert (await client.scram(f"{name}-PLUS", login)).startswith(b"a OK [CAPABILITY ")
        client, _ = await desk.connect()
        login = ScramClient(ALICE, PASSWORD, hash_name=hash_name, binding=("tls-server-end-point", end_point))
        assert (await client.scram(f"{name}-PLUS", login)).startswith(b"a OK ")
        client, _ = await desk.connect(ssl.TLSVersion.TLSv1_2)
        unique = client.tls.get_channel_binding("tls-unique")
        login = ScramClient(ALICE, PASSWORD, hash_name=hash_name, binding=("tls-unique", unique))
        assert (await client.scram(f"{name}-PLUS", login)).startswith(b"a OK ")
        client, _ = await desk.connect()
        assert (await client.scram(name, ScramClient("Alice@EXAMPLE.org", PASSWORD, hash_name=hash_name))).startswith(
            b"a OK "
        )
    assert desk.count("success") == 8


async def test_scram_refuses_what_it_should(desk: Desk) -> None:
    client, _ = await desk.connect()
    wrong = b"a NO [AUTHENTICATIONFAILED] Wrong name or password"
    assert await client.scram("SCRAM-SHA-256", ScramClient(ALICE, "wrong")) == wrong
    assert await client.scram("SCRAM-SHA-256", ScramClient("ghost@example.org", PASSWORD)) == wrong
    bound = ScramClient(ALICE, PASSWORD, binding=("tls-exporter", b"of another connection"))
    assert await client.scram("SCRAM-SHA-256-PLUS", bound) == wrong
    assert desk.count("failure") == 3
    stripped = ScramClient(ALICE, PASSWORD, flag="y")
    assert await client.scram("SCRAM-SHA-256", stripped) == b"a BAD the server does support channel binding"
    other, _ = await desk.connect()
    for_bob = ScramClient(ALICE, PASSWORD, identity="bob@example.org")
    assert (await other.scram("SCRAM-SHA-256", for_bob)).startswith(b"a NO [AUTHORIZATIONFAILED] ")
    assert desk.count("success") == 0


async def test_an_exchange_can_be_cancelled_at_each_step(desk: Desk) -> None:
    client, _ = await desk.connect()
    assert await client.say(b"a AUTHENTICATE SCRAM-SHA-256") == b"+ "
    assert await client.say(b"*") == b"a BAD Cancelled"
    login = ScramClient(ALICE, PASSWORD)
    await client.say(b"b AUTHENTICATE SCRAM-SHA-256 " + base64.b64encode(login.first()))
    assert await client.say(b"*") == b"b BAD Cancelled"
    server_first = await client.say(b"c AUTHENTICATE SCRAM-SHA-256 " + base64.b64encode(login.first()))
    await client.answer(login.final(base64.b64decode(server_first[2:])))
    assert await client.say(b"*") == b"c BAD Cancelled"
    assert (await client.say(b"d SELECT INBOX")).startswith(b"d BAD"), "the proof alone lets nobody in"


async def test_an_account_older_than_scram_has_its_keys_after_one_plain_login(desk: Desk) -> None:
    client, _ = await desk.connect()
    assert (await client.scram("SCRAM-SHA-256", ScramClient("old@example.org", PASSWORD))).startswith(b"a NO ")
    plain = base64.b64encode(f"\0old@example.org\0{PASSWORD}".encode())
    assert (await client.say(b"a AUTHENTICATE PLAIN " + plain)).startswith(b"a OK ")
    await desk.logins.close()
    client, _ = await desk.connect()
    assert (await client.scram("SCRAM-SHA-256", ScramClient("old@example.org", PASSWORD))).startswith(b"a OK ")


async def test_a_certificate_logs_in_as_the_address_in_it(desk: Desk) -> None:
    client, greeting = await desk.connect()
    assert b"AUTH=EXTERNAL" not in greeting
    assert await client.say(b"a AUTHENTICATE EXTERNAL =") == b"a NO [CANNOT] Unknown mechanism"
    for address, identity, answer in (
        (ALICE, b"=", b"a OK "),
        (ALICE, base64.b64encode(ALICE.encode()), b"a OK "),
        (ALICE, base64.b64encode(b"old@example.org"), b"a NO [AUTHENTICATIONFAILED]"),
        ("ghost@example.org", b"=", b"a NO [AUTHENTICATIONFAILED]"),
    ):
        client, greeting = await desk.connect(certificate=desk.client_certificate(address))
        assert b"AUTH=EXTERNAL" in greeting
        assert (await client.say(b"a AUTHENTICATE EXTERNAL " + identity)).startswith(answer)


async def test_tokens_log_in_and_refusals_are_explained(desk: Desk) -> None:
    client, _ = await desk.connect()
    first = base64.b64encode(b"n,,\x01auth=Bearer bad\x01\x01")
    challenge = await client.say(b"a AUTHENTICATE OAUTHBEARER " + first)
    assert base64.b64decode(challenge[2:]) == b'{"status": "invalid_token", "scope": "mail"}'
    assert await client.answer(b"\x01") == b"a NO [AUTHENTICATIONFAILED] Wrong name or password"
    other = base64.b64encode(b"user=old@example.org\x01auth=Bearer good\x01\x01")
    assert (await client.say(b"b AUTHENTICATE XOAUTH2 " + other)).startswith(b"+ ")
    assert (await client.say(b"")).startswith(b"b NO ")
    good = base64.b64encode(b"user=Alice@example.org\x01auth=Bearer good\x01\x01")
    assert (await client.say(b"c AUTHENTICATE XOAUTH2 " + good)).startswith(b"c OK ")


@pytest.mark.parametrize(
    "line", [b"a AUTHENTICATE SCRAM-SHA-256 " + b"QUFB" * 5_000, b"a AUTHENTICATE PLAIN\r\n" + b"QUFB" * 5_000]
)
async def test_endless_lines_are_refused(desk: Desk, line: bytes) -> None:
    client, _ = await desk.connect()
    answer = await client.say(line)
    if answer.startswith(b"+"):
        answer = await client.line()
    assert b" BAD " in answer


def _certificate(
    name: str, issuer: tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[1].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(name)]), critical=False)
    return key, builder.sign(key if issuer is None else issuer[0], hashes.SHA256())


@pytest.mark.skipif(shutil.which("gsasl") is None, reason="gsasl is not installed")
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "PLAIN", "LOGIN"])
@pytest.mark.parametrize("priority", ["NORMAL", "NORMAL:-VERS-TLS1.3"])
async def test_gnu_sasl_logs_in_over_gnu_tls(desk: Desk, mechanism: str, priority: str) -> None:
    """A client and a TLS library that are not ours: only so channel binding is proved."""
    clear = await asyncio.get_running_loop().create_server(desk.service.factory("imap"), "127.0.0.1", 0)
    port = clear.sockets[0].getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        "gsasl", "--imap", "--mechanism", mechanism, "--priority", priority, "--connect", f"127.0.0.1:{port}",
        "--x509-ca-file=", "--authentication-id", ALICE, "--authorization-id", "", "--password", PASSWORD,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 20)
    clear.close()
    assert b"] Logged in" in output, output.decode()
    assert desk.count("success") == 1
