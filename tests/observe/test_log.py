"""One event is one line, whatever the values hold."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailbox_app.observe.log import configure
from mailbox_app.observe.mail_log import MailEvent, MailLog


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    configure(form="json", role="front-1", descriptor=descriptor)
    handlers = logging.getLogger().handlers[:]
    yield path
    logging.getLogger().handlers[:] = [each for each in logging.getLogger().handlers if each not in handlers]
    structlog.reset_defaults()
    os.close(descriptor)


def test_the_mail_log_writes_only_what_applies(file: Path) -> None:
    seen: list[MailEvent] = []
    event = MailEvent("accepted", "in", sender="a@example.org", size_bytes=10)
    MailLog([seen.append]).write(event)
    line = json.loads(file.read_text())
    assert line["event"] == "mail.accepted"
    assert (line["role"], line["pid"], line["sender"], line["size_bytes"]) == (
        "front-1",
        os.getpid(),
        "a@example.org",
        10,
    )
    assert "queue_id" not in line
    assert seen == [event]


def test_a_level_below_the_configured_is_not_written(file: Path) -> None:
    structlog.get_logger("x").debug("hidden")
    assert file.read_bytes() == b""


def test_an_exception_carries_its_traceback(file: Path) -> None:
    try:
        int("why")
    except ValueError:
        structlog.get_logger("x").exception("failed")
    assert "ValueError: invalid literal" in json.loads(file.read_text())["traceback"]


def test_the_standard_librarys_warnings_come_too(file: Path) -> None:
    logging.getLogger("asyncio").warning("slow %s", "thing")
    logging.getLogger("asyncio").info("hidden")
    assert json.loads(file.read_text())["event"] == "asyncio.slow thing"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.text() | st.binary() | st.lists(st.text()) | st.floats() | st.just(object()), st.sampled_from(["json", "text"])
)
def test_any_value_is_one_clean_line(file: Path, value: object, form: str) -> None:
    os.truncate(file, 0)
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND)
    configure(form="json" if form == "json" else "text", descriptor=descriptor)
    structlog.get_logger("x").info("event", value=value)
    os.close(descriptor)
    data = file.read_bytes()
    assert data.count(b"\n") == 1
    text = data.decode()
    assert not any(
        character < " " or "\x7f" <= character <= "\x9f" or character in "\u202e\u2028" for character in text[:-1]
    )


def test_writing_into_nothing_does_not_raise() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    configure(form="json", descriptor=writer)
    structlog.get_logger("x").info("event")
    os.close(writer)
    structlog.get_logger("x").info("event")
    structlog.reset_defaults()
