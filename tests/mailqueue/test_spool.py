from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest

from mailbox_app.errors import QueueError
from mailbox_app.mailqueue.spool import Spool


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "queue")


def test_prefix_and_body_are_written_whole_and_private(spool: Spool) -> None:
    body = os.urandom(700_000)
    for given in (body, io.BytesIO(body)):
        file = spool.write(b"Received: x\r\n", given)
        assert Path(file.path).read_bytes() == b"Received: x\r\n" + body
        assert file.size_bytes == len(body) + 13
        assert os.stat(file.path).st_mode & 0o777 == 0o600


def test_a_file_body_is_read_from_its_start(spool: Spool) -> None:
    body = io.BytesIO(b"abc")
    body.read()
    assert Path(spool.write(b"", body).path).read_bytes() == b"abc"


@pytest.mark.parametrize("step", ["write", "fsync", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_fails_is_temporary_and_leaves_no_file(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, step, fail)
        with pytest.raises(QueueError) as caught:
            spool.write(b"a", b"b")
    assert caught.value.temporary
    assert caught.value.code == "queue.full"
    assert list(spool.directory.iterdir()) == []


def test_discarding_twice_is_fine(spool: Spool) -> None:
    file = spool.write(b"", b"x")
    spool.discard(file.path)
    spool.discard(file.path)


def test_a_file_system_that_allows_no_removal_either_is_temporary(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(QueueError) as caught:
        spool.write(b"", b"body")
    assert (caught.value.code, caught.value.temporary) == ("queue.full", True)
    spool.discard("gone")
