"""Another mail server of the pretend internet: a Postfix with mailboxes at loopback addresses, and the ways to write to it."""

from __future__ import annotations

import contextlib
import json
import smtplib
import socket
from collections.abc import Iterator, Mapping, Sequence
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from tests.support.certificates import Certified
from tests.support.daemon import PASSWORD, SECONDS, Daemon, eventually, untrusting
from tests.support.postfix import postfix

ALICE = "alice@example.org"
USERS = ("bob", "carl", "dora", "jürgen")
"""Who has a mailbox in each of a peer's domains."""
_SETTINGS = """virtual_transport = virtual
virtual_mailbox_base = {folder}/mail
virtual_mailbox_domains = {domains}
virtual_mailbox_maps = texthash:{folder}/etc/mailboxes
virtual_uid_maps = static:{user}
virtual_gid_maps = static:{group}
virtual_minimum_uid = 1
smtpd_relay_restrictions = permit_auth_destination, reject
mynetworks =
"""


def free_port(address: str = "127.0.0.1") -> int:
    """Nobody listens there."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def write_pair(folder: Path, name: str, certified: Certified) -> tuple[Path, Path]:
    """The certificate with those above it, and its key, as files."""
    chain, key = folder / f"{name}.pem", folder / f"{name}.key"
    chain.write_bytes(b"".join(each.pem() for each in (certified, *certified.above)))
    key.write_bytes(
        certified.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return chain, key


def encrypting(chain: Path, key: Path) -> dict[str, str]:
    """The settings of a listener that offers STARTTLS."""
    return {"smtpd_tls_security_level": "may", "smtpd_tls_cert_file": str(chain), "smtpd_tls_key_file": str(key)}


class Peer:
    """A running Postfix; `USERS` have mailboxes in all of its domains."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder = folder
        self.log_path = log

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    def messages(self, address: str) -> list[bytes]:
        """The mailbox of a user."""
        user, _, domain = address.partition("@")
        place = self.folder / "mail" / domain / user / "new"
        return [each.read_bytes() for each in sorted(place.iterdir())] if place.exists() else []

    def subjects(self, address: str) -> list[str]:
        """The subjects in the mailbox of a user."""
        return [str(BytesHeaderParser().parsebytes(each)["Subject"]) for each in self.messages(address)]

    def arrived(self, address: str, subject: str) -> bytes:
        """Wait for a message."""

        def found() -> bytes | None:
            for each in self.messages(address):
                if str(BytesHeaderParser().parsebytes(each)["Subject"]) == subject:
                    return each
            return None

        try:
            made: bytes = eventually(f"{subject} arrives at {address}", found)
        except AssertionError as error:
            raise AssertionError(f"{error}; the peer's log:\n{self.log[-4000:]}") from error
        return made


@contextlib.contextmanager
def mail_peer(
    folder: Path,
    port: int,
    listeners: Mapping[str, Mapping[str, str]],
    domains: Sequence[str],
    settings: str = "",
    services: str = "",
) -> Iterator[Peer]:
    """`listeners`: addresses, each with its own settings. The folder must be open to others than us."""
    mailboxes = folder / "mail"
    mailboxes.mkdir()
    mailboxes.chmod(0o777)
    uid, gid = 65534, 65534
    common = _SETTINGS.format(folder=folder, domains=" ".join(domains), user=uid, group=gid)
    doors = "".join(
        f"{address}:{port} inet n - n - - smtpd\n"
        + "".join(f"  -o {{ {name} = {value} }}\n" for name, value in own.items())
        for address, own in listeners.items()
    )
    files = {"mailboxes": "".join(f"{user}@{each} {each}/{user}/\n" for each in domains for user in USERS)}
    more = f"{doors}virtual unix - n n - - virtual\n{services}"
    with postfix(folder, 0, common + settings, services=more, files=files) as log:
        yield Peer(folder, log)


def outgoing(folder: Path, dns: str, port: int, more: str = "", *, delivery: str = "", hostname: str = "") -> Daemon:
    """Our server, not yet started: it asks that DNS, finds all others at that port, and may reach loopback."""
    daemon = Daemon(folder, fronts=1)
    text = daemon.config.read_text().replace('servers = ["127.0.0.1:9"]', f'servers = ["{dns}"]')
    if hostname:
        text = text.replace('"mail.example.org"', f'"{hostname}"')
    text += f"\n[delivery]\nallow_private_addresses = true\nport = {port}\n{delivery}\n{more}"
    daemon.config.write_text(text)
    return daemon


def submit(
    daemon: Daemon,
    recipients: Sequence[str],
    subject: str,
    *,
    sender: str = ALICE,
    header: str = "",
    body: str = "hello\r\n",
    mail_options: Sequence[str] = (),
    rcpt_options: Sequence[str] = (),
) -> None:
    """One of our users writes."""
    text = f"From: {sender}\r\nTo: {recipients[0]}\r\nSubject: {subject}\r\n{header}\r\n{body}"
    with smtplib.SMTP_SSL("127.0.0.1", daemon.ports["submissions"], context=untrusting(), timeout=SECONDS) as client:
        client.login(sender, PASSWORD)
        client.sendmail(sender, list(recipients), text.encode(), mail_options, rcpt_options)


def waiting(daemon: Daemon, recipient: str) -> dict[str, Any]:
    """The row of a recipient once it was tried and is put off; with the sentence why."""

    def row() -> dict[str, Any] | None:
        rows = daemon.call("queue.list", filter={"to": recipient}, why=True)["rows"]
        return next((each for each in rows if each["attempts"] and each["state"] == "deferred"), None)

    found: dict[str, Any] = eventually(f"{recipient} was tried", row)
    return found


def gone(daemon: Daemon, recipient: str) -> dict[str, Any]:
    """What the history says of a recipient once it has left the queue."""

    def row() -> dict[str, Any] | None:
        rows = daemon.call("queue.history", filter={"to": recipient})["rows"]
        return next(iter(rows), None)

    found: dict[str, Any] = eventually(f"{recipient} has left the queue", row)
    return found


def shown(daemon: Daemon, queue_id: str) -> str:
    """All that `queue.show` tells, as text."""
    return json.dumps(daemon.call("queue.show", id=queue_id))


def report_on(daemon: Daemon, recipient: str) -> bytes:
    """The report to Alice that names a recipient, once it is there."""
    name = recipient.encode()

    def found() -> bytes | None:
        reports = (each for each in daemon.messages(ALICE) if b"Final-Recipient" in each and name in each)
        return next(reports, None)

    made: bytes = eventually(f"a report on {recipient}", found)
    return made


def retry(daemon: Daemon, **where: object) -> None:
    """`queue retry` for what the filter matches."""
    plan = daemon.call("queue.plan", action="retry", filter=where)
    daemon.call("queue.apply", action="retry", filter=where, plan=plan["plan"])
