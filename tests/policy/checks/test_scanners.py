"""rspamd and clamd: in their protocols against servers of our own, and the real ones where they are installed."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mailbox_app.policy.checks.clamav import Clamav
from mailbox_app.policy.checks.rspamd import Rspamd, finding_of
from mailbox_app.policy.facts import Facts, MessageFacts
from mailbox_app.policy.scanners import RspamdAnswer
from mailbox_app.policy.verdict import Finding, Verdict
from tests.support.policy import Bench, facts_of

RAW = b"From: a@example.com\nSubject: x\n\nhello\n"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_MARKER = b"this-is-no-virus-but-a-mark-for-tests"
_GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def ask(
    bench: Bench, check: type[Rspamd] | type[Clamav], serve: Serve, settings: str = "", facts: Facts | None = None
) -> Finding | None:
    """The one finding of a check that talks to `serve` on a socket."""

    async def go() -> Finding | None:
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/s"
            async with await asyncio.start_unix_server(serve, path):
                section, key = ("rspamd", "url") if check is Rspamd else ("clamav", "address")
                bench.config = Bench.settings(f'[{section}]\n{key} = "unix:{path}"\n{settings}')
                found = await check(bench.tools).run(facts or facts_of(RAW))
                return found[0] if found else None

    return asyncio.run(go())


def clamd(answer: bytes, seen: list[bytes]) -> Serve:
    """A server that reads INSTREAM as clamd does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readuntil(b"\0") == b"zINSTREAM\0"
        data = b""
        while size := int.from_bytes(await reader.readexactly(4), "big"):
            data += await reader.readexactly(size)
        seen.append(data)
        writer.write(answer)
        writer.close()

    return serve


def rspamd(answer: bytes, seen: list[bytes]) -> Serve:
    """A server that reads a request and writes an answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        seen.extend([head, await reader.readexactly(size)])
        writer.write(answer)
        writer.close()

    return serve


def http(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def test_clamd_gets_the_whole_message_and_finds_nothing(bench: Bench) -> None:
    seen: list[bytes] = []
    assert ask(bench, Clamav, clamd(b"stream: OK\0", seen)) is None
    assert seen == [RAW.replace(b"\n", b"\r\n")]


def test_a_message_in_a_file_is_streamed(bench: Bench, tmp_path: Path) -> None:
    facts = facts_of(RAW)
    assert isinstance(facts.message, MessageFacts)
    body = os.urandom(300_000)
    (tmp_path / "body").write_bytes(body)
    seen: list[bytes] = []
    with (tmp_path / "body").open("rb") as file:
        size = len(facts.message.block) + len(body)
        facts.message = replace(facts.message, body=file, size_bytes=size, derived={})
        assert ask(bench, Clamav, clamd(b"stream: OK\0", seen), facts=facts) is None
    assert seen == [facts.message.block + body]


def test_a_large_message_is_scanned_up_to_the_bound(bench: Bench) -> None:
    seen: list[bytes] = []
    facts = facts_of(RAW + b"x" * 5_000)
    assert ask(bench, Clamav, clamd(b"stream: OK\0", seen), "max_bytes = 2000\n", facts) is None
    assert len(seen[0]) == 2_000


def test_a_virus_is_refused_or_junk(bench: Bench) -> None:
    found = ask(bench, Clamav, clamd(b"stream: Eicar-Test FOUND\0", []))
    assert found is not None
    assert (found.verdict, found.inputs) == (Verdict.REJECT, {"virus": "Eicar-Test"})
    found = ask(bench, Clamav, clamd(b"stream: Eicar-Test FOUND\0", []), 'action = "junk"\n')
    assert found is not None
    assert found.verdict is Verdict.JUNK


@pytest.mark.parametrize("answer", [b"", b"INSTREAM size limit exceeded. ERROR\0", b"nonsense\0", b"x" * 100_000])
@pytest.mark.parametrize(("fail", "verdict"), [("open", Verdict.ACCEPT), ("closed", Verdict.DEFER)])
def test_a_clamd_in_trouble_fails_as_configured(bench: Bench, answer: bytes, fail: str, verdict: Verdict) -> None:
    found = ask(bench, Clamav, clamd(answer, []), f'fail = "{fail}"\n')
    assert found is not None
    assert (found.verdict, found.score) == (verdict, 0.0)
    assert found.reply is None or found.reply.code == 451


def test_rspamd_is_told_who_sends(bench: Bench) -> None:
    seen: list[bytes] = []
    found = ask(bench, Rspamd, rspamd(http(b'{"action":"no action","score":2.5,"required_score":15}'), seen))
    assert found is not None
    assert (found.score, found.verdict) == (1.25, Verdict.ACCEPT)
    lines = seen[0].split(b"\r\n")
    assert lines[0] == b"POST /checkv2 HTTP/1.1"
    assert {b"IP: 192.0.2.7", b"Helo: client.example.net", b"From: sender@example.net"} <= set(lines)
    assert b"Rcpt: user1@example.org" in lines
    assert seen[1] == RAW.replace(b"\n", b"\r\n")


def test_a_line_end_in_a_name_adds_no_field(bench: Bench) -> None:
    seen: list[bytes] = []
    facts = facts_of(RAW)
    facts.helo = "x\r\nSettings-ID: whitelist"
    ask(bench, Rspamd, rspamd(http(b'{"action":"no action","score":0}'), seen), facts=facts)
    assert b"Helo: xSettings-ID: whitelist" in seen[0].split(b"\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        (
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"act\r\n'
            b'25\r\nion":"add header","score":8,"symbols"\r\n4\r\n:{}}\r\n0\r\n\r\n'
        ),
        b'HTTP/1.1 200 OK\r\n\r\n{"action":"add header","score":8,"symbols":{}}',
    ],
)
def test_other_framings_of_the_answer_are_read(bench: Bench, answer: bytes) -> None:
    found = ask(bench, Rspamd, rspamd(answer, []))
    assert found is not None
    assert (found.verdict, found.score) == (Verdict.JUNK, 4.0)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"220 this is SMTP\r\n\r\n",
        http(b"{}"),
        http(b"no JSON"),
        http(b'{"action":"reject","score":"many"}'),
        http(b'{"action":"reject","score":99}', b"403 Forbidden"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
    ],
)
@pytest.mark.parametrize(("fail", "verdict"), [("open", Verdict.ACCEPT), ("closed", Verdict.DEFER)])
def test_an_rspamd_in_trouble_fails_as_configured(bench: Bench, answer: bytes, fail: str, verdict: Verdict) -> None:
    found = ask(bench, Rspamd, rspamd(answer, []), f'fail = "{fail}"\n')
    assert found is not None
    assert (found.verdict, found.score) == (verdict, 0.0)


def test_nobody_listening_fails_as_configured(bench: Bench, tmp_path: Path) -> None:
    bench.config = Bench.settings(f'[clamav]\naddress = "unix:{tmp_path}/none"\nfail = "closed"\n')
    assert bench.run(Clamav, facts_of(RAW))[0].verdict is Verdict.DEFER


def test_without_an_address_nobody_is_asked(bench: Bench) -> None:
    assert bench.run(Clamav, facts_of(RAW)) == bench.run(Rspamd, facts_of(RAW)) == ()


@pytest.mark.parametrize(
    ("action", "score", "refuse", "verdict", "worth"),
    [
        ("no action", -20.0, False, Verdict.ACCEPT, -4.0),
        ("greylist", 4.0, False, Verdict.ACCEPT, 2.0),
        ("add header", 7.0, False, Verdict.JUNK, 3.5),
        ("rewrite subject", 7.0, False, Verdict.JUNK, 3.5),
        ("soft reject", 0.0, False, Verdict.DEFER, 0.0),
        ("reject", 50.0, False, Verdict.JUNK, 8.0),
        ("reject", 50.0, True, Verdict.REJECT, 8.0),
        ("something new", 1.0, True, Verdict.ACCEPT, 0.5),
    ],
)
def test_actions_are_taken_over(action: str, score: float, refuse: bool, verdict: Verdict, worth: float) -> None:
    found = finding_of(RspamdAnswer(action, score), 0.5, refuse=refuse)
    assert (found.verdict, found.score) == (verdict, worth)


@contextmanager
def running(words: list[str], answers: Callable[[], bool]) -> Iterator[None]:
    """A program, once it answers."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as program:
        try:
            for _ in range(600):
                if program.poll() is not None:
                    pytest.skip(f"{words[0]} does not start here")
                if answers():
                    break
                asyncio.run(asyncio.sleep(0.05))
            else:
                pytest.skip(f"{words[0]} does not answer here")
            yield
        finally:
            program.terminate()
            program.wait(20)


def _connects(family: int, address: str | tuple[str, int]) -> bool:
    with socket.socket(family) as client:
        return client.connect_ex(address) == 0


@pytest.mark.skipif(shutil.which("clamd") is None, reason="clamd is not installed")
def test_the_real_clamd(bench: Bench) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o755)
        (place / "db").mkdir()
        (place / "db" / "test.ndb").write_text(f"Mark.Test:0:*:{_MARKER.hex()}\n")
        (place / "clamd.conf").write_text(
            f"DatabaseDirectory {folder}/db\nLocalSocket {folder}/s\nForeground yes\nStreamMaxLength 30M\n"
            + ("User root\n" if os.geteuid() == 0 else "")
        )
        words = ["clamd", "--config-file", f"{folder}/clamd.conf"]
        with running(words, lambda: _connects(socket.AF_UNIX, f"{folder}/s")):
            bench.config = Bench.settings(f'[clamav]\naddress = "unix:{folder}/s"\nfail = "closed"\n')
            assert bench.run(Clamav, facts_of(RAW)) == ()
            (found,) = bench.run(Clamav, facts_of(RAW + _MARKER + b"\n"))
            assert found.verdict is Verdict.REJECT
            assert str(found.inputs["virus"]).startswith("Mark.Test")


@pytest.mark.skipif(shutil.which("rspamd") is None, reason="rspamd is not installed")
def test_the_real_rspamd(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "tld").write_text("com\n")  # compiling the whole list takes half a minute
        (place / "rspamd.conf").write_text(
            f'options {{ pidfile = "{folder}/pid"; tempdir = "{folder}"; filters = ""; gtube_patterns = "all";\n'
            f'  url_tld = "{folder}/tld";\n'
            '  dns { nameserver = ["127.0.0.1:9"]; timeout = 1s; } }\n'
            'logging { type = "console"; level = "error"; }\n'
            "actions { reject = 15; add_header = 6; greylist = 4; }\n"
            f'worker "normal" {{ bind_socket = "127.0.0.1:{port}"; count = 1; }}\n'
        )
        words = ["rspamd", "-f", "-c", f"{folder}/rspamd.conf", *(["-i"] if os.geteuid() == 0 else [])]
        with running(words, lambda: _connects(socket.AF_INET, ("127.0.0.1", port))):
            bench.config = Bench.settings(f'[rspamd]\nurl = "http://127.0.0.1:{port}"\nfail = "closed"\n')
            (found,) = bench.run(Rspamd, facts_of(RAW))
            assert (found.verdict, found.inputs["action"]) == (Verdict.ACCEPT, "no action")
            (found,) = bench.run(Rspamd, facts_of(RAW + _GTUBE + b"\n"))
            assert (found.verdict, found.inputs["action"]) == (Verdict.JUNK, "reject")
