from __future__ import annotations

import pytest

from mailbox_app.errors import MailboxError, QueueError, StoreError
from mailbox_app.proto.smtp.replies import Refusal, Reply, reply_for


def test_a_reply_of_several_lines_repeats_code_and_enhanced_code() -> None:
    assert Reply(250, "2.0.0", "a\nb").encode() == b"250-2.0.0 a\r\n250 2.0.0 b\r\n"
    assert Reply(354, "", "go").encode() == b"354 go\r\n"


@pytest.mark.parametrize(
    ("error", "code", "enhanced"),
    [
        (Refusal(550, "5.1.1", "no", reason="no_such_user"), 550, "5.1.1"),
        (StoreError("store.over_quota", "full", temporary=True), 452, "4.2.2"),
        (StoreError("store.full", "disk", temporary=True), 452, "4.3.1"),
        (QueueError("queue.full", "disk", temporary=True), 452, "4.3.1"),
        (StoreError("store.busy", "busy", temporary=True), 451, "4.3.0"),
        (MailboxError("other", "secret of ours"), 451, "4.3.0"),
    ],
)
def test_local_trouble_is_temporary_and_says_nothing_about_us(error: MailboxError, code: int, enhanced: str) -> None:
    reply = reply_for(error)
    assert reply[:2] == (code, enhanced)
    assert "secret" not in reply.text
