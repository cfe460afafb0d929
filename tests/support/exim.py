"""An Exim of its own: another mail server, with another TLS library (GnuTLS) and logins of its own.

Exim wants its Unix user, which only its package makes. It gets one in a mount namespace of its own: nothing of the machine changes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.daemon import eventually
from tests.support.debian_programs import program

EXIM = program("exim4-daemon-light", "usr/sbin/exim4")
needs_exim = pytest.mark.skipif(
    os.geteuid() != 0 or not EXIM or shutil.which("unshare") is None,
    reason="Exim is neither installed nor unpacked by scripts/unpack_debian, or started by root only",
)
_CONFIG = """spool_directory = {folder}/spool
log_file_path = {folder}/logs/%slog
keep_environment =
pid_file_path = {folder}/pid
exim_path = {exim}
primary_hostname = exim.example
local_interfaces = {doors}
daemon_smtp_ports = {port}
tls_on_connect_ports = {wrapped}
domainlist ours = {domains}
acl_smtp_rcpt = rcpt
never_users =
log_selector = +tls_cipher +smtp_protocol_error +received_recipients +pipelining +dnssec
chunking_advertise_hosts = *
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
tls_advertise_hosts = {tls}
tls_certificate = {folder}/chain.pem
tls_privatekey = {folder}/key.pem
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
begin acl
rcpt:
  {rule}
  deny message = relay not permitted
begin routers
there:
  driver = accept
  domains = +ours
  local_parts = bob : carl
  transport = maildir
begin transports
maildir:
  driver = appendfile
  directory = {folder}/mail/$domain_data/$local_part_data
  maildir_format
  create_directory
  delivery_date_add
  envelope_to_add
  return_path_add
  user = nobody
  group = nogroup
  mode = 0644
  directory_mode = 0755
begin retry
* * F,1h,1m
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{our-account}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
"""


class Exim:
    """Running; `messages` are a user's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return "".join(each.read_text() for each in sorted((self.folder / "logs").glob("*log")))

    def messages(self, address: str) -> list[bytes]:
        """The mailbox of a user."""
        user, _, domain = address.partition("@")
        place = self.folder / "mail" / domain / user / "new"
        return [each.read_bytes() for each in sorted(place.iterdir())] if place.exists() else []

    def arrived(self, address: str, subject: str) -> bytes:
        """Wait for a message."""
        wanted = f"Subject: {subject}\n".encode()

        def found() -> bytes | None:
            return next((each for each in self.messages(address) if wanted in each), None)

        try:
            made: bytes = eventually(f"{subject} arrives at {address}", found)
        except AssertionError as error:
            raise AssertionError(f"{error}; the peer's log:\n{self.log[-4000:]}") from error
        return made


@contextlib.contextmanager
def exim(
    folder: Path,
    address: str,
    port: int,
    domains: Sequence[str],
    pair: tuple[Path, Path] | None = None,
    *,
    wrapped: int = 0,
    password: str = "",
) -> Iterator[Exim]:
    """`wrapped`: a second port with TLS from the first byte; with a `password` only who logs in as our-account may send."""
    for each in ("spool", "mail", "logs"):
        (folder / each).mkdir()
        (folder / each).chmod(0o777)
    if pair is not None:
        for source, name in zip(pair, ("chain.pem", "key.pem"), strict=True):
            shutil.copy(source, folder / name)
            (folder / name).chmod(0o644)
    rule = "accept authenticated = *" if password else "accept domains = +ours\n    local_parts = bob : carl"
    (folder / "exim.conf").write_text(
        _CONFIG.format(
            folder=folder,
            exim=EXIM,
            doors=f"<; {address}",
            port=f"<; {port}" + (f" ; {wrapped}" if wrapped else ""),
            wrapped=wrapped or "",
            domains=" : ".join(domains),
            tls="*" if pair else "",
            rule=rule,
            password=password,
        )
    )
    for name, line in (("passwd", "Debian-exim:x:65534:65534::/:/bin/false\n"), ("group", "Debian-exim:x:65534:\n")):
        (folder / name).write_text(Path("/etc", name).read_text() + line)
    script = (
        f"mount --bind {folder}/passwd /etc/passwd && mount --bind {folder}/group /etc/group"
        f" && exec {EXIM} -C {folder}/exim.conf -bdf"
    )
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script], stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    try:

        def ready() -> bool:
            assert process.poll() is None, (folder / "output").read_text()
            return "listening for SMTP" in Exim(folder).log

        eventually("Exim listens", ready)
        yield Exim(folder)
    finally:
        process.terminate()
        process.wait(20)
