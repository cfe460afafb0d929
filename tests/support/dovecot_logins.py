"""Dovecot as the one that knows the passwords of a Postfix: its login service alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.daemon import eventually

DOVECOT = shutil.which("dovecot", path="/usr/sbin:/usr/bin") or ""
needs_dovecot = pytest.mark.skipif(
    os.geteuid() != 0 or not DOVECOT, reason="Dovecot is not installed, or started by root only"
)
_CONFIG = """base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols =
ssl = no
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {folder}/passwords
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}}
service auth {{
  unix_listener {folder}/auth {{
    mode = 0666
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"""


@contextlib.contextmanager
def dovecot_logins(folder: Path, passwords: Mapping[str, str], mechanisms: str = "plain login") -> Iterator[Path]:
    """The socket for `smtpd_sasl_path`. The folder must be open to others than us."""
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "passwords").write_text("".join(f"{user}:{{PLAIN}}{password}\n" for user, password in passwords.items()))
    (folder / "passwords").chmod(0o644)
    (folder / "dovecot.conf").write_text(_CONFIG.format(folder=folder, mechanisms=mechanisms))
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [DOVECOT, "-F", "-c", folder / "dovecot.conf"], stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    try:

        def ready() -> bool:
            assert process.poll() is None, (folder / "output").read_text()
            return (folder / "auth").is_socket()

        eventually("Dovecot takes logins", ready)
        yield folder / "auth"
    finally:
        process.terminate()
        process.wait(20)
