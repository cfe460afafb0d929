"""Many random IMAP sessions on one account of the running server: every answer fits what was told before.

Longer: `python -m tests.support.imap_sessions MINUTES [SEED]`, or MAILBOX_IMAP_SESSIONS_SECONDS and
MAILBOX_IMAP_SESSIONS_SEED for this test.
"""

import os
import time
from pathlib import Path

import pytest

from tests.support.imap_sessions import prepared, run

pytestmark = [pytest.mark.system, pytest.mark.slow]
SECONDS = float(os.environ.get("MAILBOX_IMAP_SESSIONS_SECONDS", "10"))
SEED = int(os.environ.get("MAILBOX_IMAP_SESSIONS_SEED", "0")) or int(time.time())


@pytest.mark.parametrize("meddling", [False, True], ids=["alone", "among others"])
async def test_random_sessions_agree(tmp_path: Path, *, meddling: bool) -> None:
    daemon = prepared(tmp_path)
    try:
        done = await run(daemon, SEED, SECONDS, meddling=meddling)
        assert done.commands > 100
        assert done.checkpoints
    finally:
        daemon.destroy()
