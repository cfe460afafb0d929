"""Against a server of our own that knows a few tokens."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from mailbox_app.accounts import introspection
from mailbox_app.accounts.introspection import Introspection
from mailbox_app.config.schema import OAuth
from mailbox_app.db.offload import Offload
from mailbox_app.errors import AccountError, ConfigError
from mailbox_app.net.tls import ensure_self_signed
from tests.support.clock import FakeClock


class Giver(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str]] = []
        self.answers: dict[str, bytes] = {}
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/introspect?realm=mail"


class Handler(BaseHTTPRequestHandler):
    server: Giver

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        token = form["token"][0]
        self.server.asked.append((token, self.headers.get("Authorization", "")))
        self.send_response(self.server.status)
        self.end_headers()
        if token == "slow":
            self.wfile.write(b" ")
            self.wfile.flush()
            self.connection.recv(1)  # until the other side hangs up
            return
        self.wfile.write(self.server.answers.get(token, b'{"active": false}'))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass


@pytest.fixture
def giver() -> Iterator[Giver]:
    server = Giver()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def offload() -> Iterator[Offload]:
    made = Offload(2)
    yield made
    made.close()


def answer(**fields: object) -> bytes:
    return json.dumps({"active": True, "username": "alice@example.org", **fields}).encode()


async def test_a_good_token_is_asked_about_once_a_minute(giver: Giver, offload: Offload, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("pass:word\n")
    clock = FakeClock()
    giver.answers["good"] = answer(scope="openid mail")
    settings = OAuth(
        introspection_url=giver.url, client_id="mail server", client_secret_file=str(tmp_path / "secret"), scope="mail"
    )
    tokens = Introspection(settings, offload, clock)
    for _ in range(3):
        owner = await tokens.verify("good")
        assert owner is not None
        assert owner.addresses == ("alice@example.org",)
    assert giver.asked == [("good", "Basic bWFpbCtzZXJ2ZXI6cGFzcyUzQXdvcmQ=")]
    clock.skip(61)
    giver.answers.clear()
    assert await tokens.verify("good") is None


async def test_tokens_that_are_not_good(giver: Giver, offload: Offload) -> None:
    clock = FakeClock()
    now = clock.epoch_seconds()
    tokens = Introspection(OAuth(introspection_url=giver.url, scope="mail"), offload, clock)
    giver.answers.update(
        other=answer(scope="calendar"),
        old=answer(scope="mail", exp=now - 1),
        early=answer(scope="mail", nbf=now + 5),
        short=answer(scope="mail", exp=now + 5),
    )
    assert [await tokens.verify(token) for token in ("other", "old", "early", "unknown")] == [None] * 4
    assert await tokens.verify("short") is not None
    clock.skip(6)
    giver.answers["short"] = b'{"active": false}'
    assert await tokens.verify("short") is None, "remembered no longer than it lives"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"active": "yes"}', b'{"active": true, "pad": "' + b"x" * 70_000 + b'"}']
)
async def test_an_answer_that_is_none_is_temporary_trouble(giver: Giver, offload: Offload, body: bytes) -> None:
    giver.answers["t"] = body
    with pytest.raises(AccountError) as caught:
        await Introspection(OAuth(introspection_url=giver.url), offload, FakeClock()).verify("t")
    assert caught.value.temporary


async def test_a_server_that_fails_or_is_not_there_is_temporary_trouble(giver: Giver, offload: Offload) -> None:
    giver.status = 401
    for url in (giver.url, "http://127.0.0.1:1/"):
        with pytest.raises(AccountError) as caught:
            await Introspection(OAuth(introspection_url=url), offload, FakeClock()).verify("t")
        assert caught.value.temporary


async def test_a_server_that_never_ends_its_answer_holds_no_thread(
    giver: Giver, offload: Offload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(introspection, "_WHOLE_SECONDS", 0.2)
    with pytest.raises(AccountError) as caught:
        await Introspection(OAuth(introspection_url=giver.url), offload, FakeClock()).verify("slow")
    assert caught.value.code == "account.no_answer"


async def test_a_token_goes_only_to_a_server_whose_certificate_is_trusted(offload: Offload, tmp_path: Path) -> None:
    certificate, key = ensure_self_signed(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = Giver()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.answers["good"] = answer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        url = f"https://localhost:{server.server_address[1]}/"
        with pytest.raises(AccountError):
            await Introspection(OAuth(introspection_url=url), offload, FakeClock()).verify("good")
        assert server.asked == []
        trusting = OAuth(introspection_url=url, ca_file=str(certificate))
        assert await Introspection(trusting, offload, FakeClock()).verify("good") is not None
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_files_that_cannot_be_read_are_mistakes_of_the_configuration(offload: Offload, tmp_path: Path) -> None:
    for settings in (
        OAuth(introspection_url="http://127.0.0.1/", client_id="x", client_secret_file=str(tmp_path / "none")),
        OAuth(introspection_url="https://id.example/", ca_file=str(tmp_path / "none")),
    ):
        with pytest.raises(ConfigError):
            Introspection(settings, offload, FakeClock())


@pytest.mark.parametrize(("verified", "wanted"), [(True, 2), (None, 2), (False, 1), ("false", 1)])
async def test_an_address_that_was_not_verified_is_nobodys(
    verified: object, wanted: int, giver: Giver, offload: Offload
) -> None:
    giver.answers["t"] = answer(email="bob@example.org", email_verified=verified)
    owner = await Introspection(OAuth(introspection_url=giver.url), offload, FakeClock()).verify("t")
    assert owner is not None
    assert len(owner.addresses) == wanted
