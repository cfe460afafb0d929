"""Real programs against the running server."""

from __future__ import annotations

import pytest

from mailbox_app.demo.appliance import Appliance
from tests.support.programs import PASSWORD, needs, run

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("interop")]


def count(server: Appliance, address: str) -> int:
    client = server.mailbox(address, PASSWORD)
    try:
        _, data = client.select("INBOX")
        return int(data[0] or 0)
    finally:
        client.logout()


@needs("swaks")
@pytest.mark.parametrize(
    ("service", "options"),
    [
        ("smtp", ["--from", "someone@outside.example"]),
        ("smtp", ["--from", "someone@outside.example", "--tls"]),
        ("submission", ["--from", "alice@example.org", "--tls", "--auth", "PLAIN"]),
        ("submissions", ["--from", "alice@example.org", "--tls-on-connect", "--auth", "LOGIN"]),
    ],
)
def test_swaks_delivers(appliance: Appliance, service: str, options: list[str]) -> None:
    before = count(appliance, "bob@example.org")
    login = ["--auth-user", "alice@example.org", "--auth-password", PASSWORD] if "--auth" in options else []
    where = ["--server", "127.0.0.1", "--port", appliance.ports[service]]
    run("swaks", *where, "--to", "bob@example.org", "--suppress-data", *options, *login)
    assert count(appliance, "bob@example.org") == before + 1


@needs("curl")
def test_curl_lists_mailboxes_over_implicit_tls(appliance: Appliance) -> None:
    url = f"imaps://127.0.0.1:{appliance.ports['imaps']}/"
    listing = run("curl", "--silent", "--show-error", "--insecure", "--user", f"alice@example.org:{PASSWORD}", url)
    assert '"/" INBOX' in listing


@needs("openssl")
def test_openssl_sees_the_greeting_and_tls_1_3(appliance: Appliance) -> None:
    where = f"127.0.0.1:{appliance.ports['imaps']}"
    told = run("openssl", "s_client", "-connect", where, "-crlf", "-ign_eof", stdin="a LOGOUT\n")
    assert "TLSv1.3" in told
    assert "* OK" in told
    assert "a OK" in told
