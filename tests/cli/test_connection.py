from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "mailbox_app", "--config"]


@pytest.mark.system
def test_a_command_in_the_line_after_serve_waits_until_the_server_listens(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        '[server]\nhostname = "mail.example.org"\ndata_dir = "data"\nfronts = 1\n'
        '[listen]\nsmtp = ["127.0.0.1:0"]\nsubmission = []\nsubmissions = []\nimaps = []\n'
        "managesieve = []\nhttps = []\nhttp = []\nmetrics = []\n[tls]\nauto_tls = false\n"
    )
    server = subprocess.Popen([*COMMAND, str(config), "serve"], stderr=subprocess.DEVNULL)
    try:
        done = subprocess.run(
            [*COMMAND, str(config), "domain", "add", "example.org"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    finally:
        server.terminate()
        status = server.wait(20)
    assert status == 0
