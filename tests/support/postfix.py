"""A Postfix of its own: its spool, its configuration, one loopback port. Root starts it; so does Postfix wish."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.programs import run

needs_postfix = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("postfix") is None, reason="Postfix is not installed, or started by root only"
)
_MAIN = """compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = front.example
mydestination =
mynetworks = 127.0.0.0/8
local_transport = error:no local
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_relay_restrictions = permit_mynetworks, reject
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
"""
_MASTER = """pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
proxymap unix - - n - - proxymap
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
lmtp unix - - n - - lmtp
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


@contextlib.contextmanager
def postfix(
    folder: Path, port: int, settings: str, *, services: str = "", files: Mapping[str, str] | None = None
) -> Iterator[Path]:
    """Runs with `settings` below the common ones; gives the log. The folder must be open to others than us.

    Port 0: only what `services`, lines for master.cf, say. `files` go beside main.cf.
    """
    for name in ("spool", "data", "etc"):
        (folder / name).mkdir()
    run("chown", "postfix", folder / "data")
    (folder / "etc/main.cf").write_text(_joined(_MAIN.format(folder=folder), settings))
    door = f"127.0.0.1:{port} inet n - n - - smtpd\n" if port else ""
    (folder / "etc/master.cf").write_text(door + services + _MASTER)
    for name, text in (files or {}).items():
        (folder / "etc" / name).write_text(text)
    run("/usr/sbin/postfix", "-c", folder / "etc", "start")
    try:
        yield folder / "log"
    finally:
        run("/usr/sbin/postfix", "-c", folder / "etc", "stop", codes=(0, 1))


def _joined(common: str, own: str) -> str:
    """Without the common lines that the test sets itself: Postfix warns of those."""
    named = {line.partition("=")[0].strip() for line in own.splitlines() if not line.startswith(" ")}
    kept = [line for line in common.splitlines() if line.partition("=")[0].strip() not in named]
    return "\n".join(kept) + "\n" + own
