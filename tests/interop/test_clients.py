"""Real programs against the running server."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mailbox_app.demo.appliance import Appliance

PASSWORD = "correct horse battery"
pytestmark = [pytest.mark.system, pytest.mark.xdist_group("interop")]


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def run(*command: object, stdin: str = "") -> str:
    done = subprocess.run(
        [str(word) for word in command], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


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


@needs("mbsync")
def test_mbsync_goes_both_ways_and_a_second_run_changes_nothing(appliance: Appliance, tmp_path: Path) -> None:
    client = appliance.mailbox("carol@example.org", PASSWORD)
    for number in range(5):
        client.append(
            "INBOX", r"(\Flagged)" if number == 0 else None, None, f"Subject: server {number}\r\n\r\nx\r\n".encode()
        )
    local = tmp_path / "mail"
    local.mkdir()
    config = tmp_path / "mbsyncrc"
    config.write_text(
        f"""IMAPAccount server
Host localhost
Port {appliance.ports["imaps"]}
User carol@example.org
Pass "{PASSWORD}"
SSLType IMAPS
CertificateFile {appliance.folder}/data/certs/none.pem
SSLVersions TLSv1.2 TLSv1.3

IMAPStore remote
Account server

MaildirStore local
Path {local}/
Inbox {local}/INBOX
SubFolders Verbatim

Channel all
Far :remote:
Near :local:
Patterns INBOX
Create Both
Expunge Both
SyncState *
"""
    )
    certificate = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{appliance.ports['imaps']}"],
        input="", capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    pem = tmp_path / "server.pem"
    start, end = certificate.index("-----BEGIN"), certificate.index("-----END CERTIFICATE-----") + 25
    pem.write_text(certificate[start:end] + "\n")
    config.write_text(config.read_text().replace(f"{appliance.folder}/data/certs/none.pem", str(pem)))
    run("mbsync", "-c", config, "all")
    inbox = local / "INBOX"
    names = [path.name for folder in ("cur", "new") for path in (inbox / folder).iterdir()]
    assert len(names) == 5
    assert sum(",F" in name or "F" in name.rpartition(":2,")[2] for name in names) == 1
    (inbox / "new" / "1700000000.1.here").write_bytes(b"Subject: from the laptop\r\n\r\nx\r\n")
    run("mbsync", "-c", config, "all")
    run("mbsync", "-c", config, "all")
    client.select("INBOX")
    _, found = client.search(None, "ALL")
    assert len(found[0].split()) == 6
    assert len([path for folder in ("cur", "new") for path in (inbox / folder).iterdir()]) == 6
    client.logout()
