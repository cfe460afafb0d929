"""IMAP clients that want out of their account or the server down: clear refusals, nothing outside is touched."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import PASSWORD, Daemon
from tests.support.rough import ALICE, check_well, clean_daemon, exchange, noise, rude, tree

pytestmark = pytest.mark.system
SECONDS = float(os.environ.get("MAILBOX_HOSTILE_SECONDS", "4"))
SEED = int(os.environ.get("MAILBOX_HOSTILE_SEED", "1"))
READ_SECONDS = 30.0
LOGIN = f'l LOGIN {ALICE} "{PASSWORD}"\r\n'.encode()

NAMES = (
    b"..", b".", b"", b"/", b"//", b"a//b", b"/a", b"a/", b"../bob", b"a/../b", b"a/./b", b"../../bob/Maildir", b"..\\bob",
    b"../../../../../../tmp/mailbox-escaped", b"/tmp/mailbox-escaped", b"~bob", b"~/x", b"#shared/bob", b"INBOX/..", b"INBOX/",
    b"inbox/../x", b"cur", b"new", b"tmp", b".cur", b".Trash", b"a.b", b"..Trash", b".Sent.", b"index.db", b"mailbox.json",
    b"a\x01b", b"a\x7fb", b"a\x1b[2J", b"a\tb", b"caf\xe9", b"caf\xc3\xa9", b"x" * 255, b"x" * 10_000, b"/".join([b"d"] * 500),
    b"&", b"&-", b"&AC4ALg-", b"&AC8-", b"&AC4ALgAv-x", b"&AAA-", b"&AAo-", b"&2AA-", b"&3AA-", b"&2D3eAA-", b"&Jjo", b"&Jjo!",
    b"&!!!-", b"&AGE-", b"&-&-", b"&U,BTFw-&ZeVnLIqe-", b"&ACoAJQ-", b"*", b"%", b"a*b", b"a%b", b"a\"b", b"a\\b", b"NIL", b"con",
    b"&MDAwMA-" * 300,
)  # fmt: skip

FRAGMENTS = (
    b"a", b" ", b"SELECT", b"EXAMINE", b"FETCH", b"UID", b"STORE", b"SEARCH", b"COPY", b"MOVE", b"APPEND", b"CREATE", b"DELETE",
    b"RENAME", b"LIST", b"LSUB", b"STATUS", b"EXPUNGE", b"CLOSE", b"IDLE\r\nDONE", b"NOOP", b"CHECK", b"ENABLE CONDSTORE",
    b"ID NIL", b"NAMESPACE", b"SUBSCRIBE", b"UNSUBSCRIBE", b"UNSELECT", b"CAPABILITY", b"LOGIN", b"AUTHENTICATE PLAIN", b"STARTTLS",
    b"INBOX", b"Trash", b'""', b'"a b"', b"*", b"%", b"1", b"1:*", b"4294967295", b"0", b"1,2,3", b"$", b"(", b")", b"((", b"))",
    b"FLAGS", b"+FLAGS.SILENT", b"(\\Seen)", b"(\\Deleted keyword)", b"BODY[]", b"BODY.PEEK[1.2.3]", b"BODY[HEADER.FIELDS (A B)]",
    b"<0.10>", b"BODY[1.MIME]", b"ENVELOPE", b"BODYSTRUCTURE", b"ALL", b"FULL", b"RFC822", b"OR", b"NOT", b"HEADER", b"SUBJECT",
    b"CHARSET UTF-8", b"SINCE 1-Jan-2020", b"LARGER 5", b"KEYWORD x", b"UNCHANGEDSINCE 5", b"CHANGEDSINCE 1", b"MODSEQ 1",
    b"RETURN (ALL)", b"(MESSAGES UIDNEXT)", b"{3+}\r\nabc", b"{5}\r\n", b"{0+}\r\n", b"~{3+}\r\nabc", b"\r\n", b"\n", b"\r", b"\0",
    b"\xff", b'"', b"\\", b"{", b"}", b"[", b"]", b"&AC4-", b"..", b"/",
)  # fmt: skip

_PACKER = zlib.compressobj(wbits=-15)
_BOMB = _PACKER.compress(b"x" * 50_000_000) + _PACKER.flush()
CASES = {
    "nothing": b"",
    "nul": b"\0" * 5_000 + b"\r\n",
    "endless line": b"a" * 3_000_000,
    "endless tag": b"t" * 60_000 + b" NOOP\r\n",
    "empty lines": b"\r\n" * 20_000,
    "a literal of 4 GiB": b"a APPEND INBOX {4294967296}\r\n",
    "a literal of 4 GiB that comes": b"a APPEND INBOX {4294967296+}\r\n" + b"x" * 200_000,
    "a literal beyond all numbers": b"a APPEND INBOX {" + b"9" * 400 + b"}\r\n",
    "a name of 4 GiB": b"a CREATE {4294967296}\r\n",
    "a truncated literal": b"a APPEND INBOX {100}\r\nshort",
    "a truncated quoted string": b'a CREATE "abc',
    "nested literals": b"a LOGIN " + b"{1+}\r\nx " * 2_000 + b"\r\n",
    "parentheses": b"a FETCH 1 " + b"(" * 50_000 + b"\r\n",
    "closing parentheses": b"a FETCH 1 (FLAGS" + b")" * 50_000 + b"\r\n",
    "nul in an atom": b"a SELECT IN\0BOX\r\n",
    "high bytes in an atom": b"a SELECT \xff\xfe\x80\r\n",
    "nested search": b"a SEARCH " + b"NOT " * 10_000 + b"ALL\r\n",
    "nested search in parentheses": b"a SEARCH " + b"(" * 10_000 + b"ALL" + b")" * 10_000 + b"\r\n",
    "nested search with or": b"a SEARCH " + b"OR ALL " * 9_000 + b"ALL\r\n",
    "a set of 100,000 ranges": b"a FETCH " + b",".join(b"%d:%d" % (n, n) for n in range(1, 100_001)) + b" FLAGS\r\n",
    "a set of 7,000 ranges": b"a FETCH " + b",".join(b"%d:*" % n for n in range(1, 7_001)) + b" FLAGS\r\n",
    "a set of everything": b"a UID FETCH 1:4294967295,4294967295:1,*:* FLAGS\r\n",
    "numbers beyond 32 bits": b"a FETCH 99999999999999999999:1 FLAGS\r\na FETCH 0 FLAGS\r\na FETCH -1 FLAGS\r\n",
    "a huge list of items": b"a FETCH 1 (" + b"BODY.PEEK[HEADER.FIELDS (X)] " * 2_000 + b"FLAGS)\r\n",
    "a huge list of fields": b"a FETCH 1 BODY.PEEK[HEADER.FIELDS (" + b"X-A " * 14_000 + b"B)]\r\n",
    "deep parts": b"a FETCH 1 BODY.PEEK[" + b"1." * 20_000 + b"1]\r\n",
    "parts beyond numbers": b"a FETCH 1 BODY.PEEK[99999999999999999999999.0]<99999999999999999999.1>\r\n",
    "keywords": b"a STORE 1 +FLAGS (" + b" ".join(b"k%d" % n for n in range(9_000)) + b")\r\n",
    "a long keyword": b"a STORE 1 +FLAGS (" + b"k" * 50_000 + b")\r\n",
    "odd flags": b"a STORE 1 FLAGS (\\Recent \\* \\ \\\\ ( ) \xff)\r\n",
    "patterns": b'a LIST "" "' + b"*%" * 20_000 + b'"\r\na LIST "' + b"*" * 3_000 + b'" "' + b"*a" * 3_000 + b'"\r\n',
    "dates": b'a APPEND INBOX "99-Foo-0000 99:99:99 +9999" {1+}\r\nx\r\na SEARCH SINCE 32-Jan-2020 BEFORE 1-Jan-99999\r\n',
    "idle without end": b"a IDLE\r\n" + b"x" * 100_000,
    "idle and nonsense": b"a IDLE\r\nNOOP\r\nDONE\r\n" * 30,
    "authenticate and nonsense": b"a AUTHENTICATE PLAIN\r\n" + b"=" * 20_000 + b"\r\na AUTHENTICATE \xff\r\n",
    "pipelined flood": b"a NOOP\r\n" * 30_000,
    "search text": b"a SEARCH TEXT {70000+}\r\n" + b"(a+)+$" * 11_666 + b"aaaa\r\n",
    "a bad charset": b"a SEARCH CHARSET X-NO TEXT x\r\na SEARCH CHARSET UTF-8 TEXT {2+}\r\n\xff\xfe\r\n",
    "patterns of many stars": b'a LIST "" (' + b" ".join([b"*a%a" * 200] * 70) + b")\r\n",
    "sources without end": b"a ESEARCH IN (" + b" ".join([b"subtree (" + b"a " * 300 + b"b)"] * 3) + b") ALL\r\n",
    "header names without end": b"a SEARCH " + b" ".join(b"HEADER X%d y" % n for n in range(4_000)) + b"\r\n",
    "groups without end": b"a NOTIFY SET " + b"(subtree (a b c) (MessageNew MessageExpunge)) " * 51 + b"\r\n",
    "names to notify": b"a NOTIFY SET (mailboxes (" + b" ".join(b"m%d" % n for n in range(900)) + b") NONE)\r\n",
    "replace, a literal that is refused": b"a REPLACE 99 INBOX {9+}\r\nb NOOP\r\n\r\n\r\n",
    "replace, numbers out of use": b"a ENABLE UIDONLY\r\nb REPLACE 1 INBOX {3+}\r\nabc\r\n",
    "catenate without end": b"a APPEND INBOX CATENATE (" + b'URL "/INBOX;UID=1" ' * 2_000 + b")\r\n",
    "catenate with odd urls": b"a APPEND INBOX CATENATE (" + b'URL "/../bob;UID=1" URL "imap://bob@x/INBOX/;UID=1"' + b")\r\n",
    "messages without end": b"a APPEND INBOX" + b" {1+}\r\nx" * 300 + b" {99999999999+}\r\nx\r\n",
    "a bad message behind good ones": b"a APPEND INBOX {1+}\r\nx (\\Bad) {1+}\r\ny {1+}\r\nz\r\n",
    "annotations": b"a SETMETADATA INBOX (" + b" ".join(b"/private/a%d x" % n for n in range(3_000)) + b")\r\n",
    "a huge annotation": b"a SETMETADATA INBOX (/private/a {100000+}\r\n" + b"x" * 100_000 + b")\r\n",
    "odd identifiers": b"a SETACL INBOX \"a\\\"b\" lr\r\na SETACL INBOX -- lr\r\na SETACL INBOX {3+}\r\na\nb lr\r\n",
    "matched numbers": b"a ENABLE QRESYNC\r\nb SELECT INBOX (QRESYNC (1 1 1:4294967295 (1:4294967295 1:4294967295)))\r\n",
    "compressed nonsense": b"a COMPRESS DEFLATE\r\n" + b"\xff" * 10_000,
    "compressed ends": b"a COMPRESS DEFLATE\r\n" + b"\3\0" * 60_000,
    "compressed zeros": b"a COMPRESS DEFLATE\r\n" + _BOMB,
    "out and in": b"a UNAUTHENTICATE\r\n" + LOGIN + b"b SELECT INBOX\r\nc SEARCH $\r\n" * 30,
    "contexts": b"".join(b"a%d UID SEARCH RETURN (UPDATE) ALL\r\n" % n for n in range(100)),
    "sort keys": b"a SORT (" + b"REVERSE SUBJECT " * 3_000 + b"DATE) UTF-8 ALL\r\n",
    "an id without end": b"a ID (" + b'"k" "v" ' * 5_000 + b")\r\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    yield from clean_daemon(tmp_path_factory.mktemp("hostile"))


def talk(daemon: Daemon, data: bytes, quiet_seconds: float = 0.05) -> bytes:
    """Send all over TLS, logged in; what came until silence or the end. Never longer than half a minute."""
    answers = [b""]
    with rude(daemon.ports["imaps"], tls=True) as connection:
        connection.sendall(LOGIN + b"s SELECT INBOX\r\n")
        while b"\r\ns OK" not in answers[-1]:
            answers.append(connection.recv(65_536))
            assert answers[-1]
        answers = []
        connection.settimeout(5.0)  # a server that reads no more has hung up or waits for us to read
        with contextlib.suppress(TimeoutError):
            connection.sendall(data)
        connection.settimeout(quiet_seconds)
        end = time.monotonic() + READ_SECONDS
        with contextlib.suppress(TimeoutError):
            while piece := connection.recv(262_144):
                answers.append(piece)
                assert time.monotonic() < end, data[:200]
    return b"".join(answers)


def literal(name: bytes) -> bytes:
    return b"{%d+}\r\n%b" % (len(name), name)


@pytest.mark.parametrize("logged_in", [False, True], ids=["strangers", "users"])
def test_each_kind_of_abuse_leaves_the_service_well(daemon: Daemon, logged_in: bool) -> None:
    for data in CASES.values():
        if logged_in:
            talk(daemon, data)
        else:
            exchange(daemon.ports["imap"], data)
            exchange(daemon.ports["imap"], data, half_open=True)
    check_well(daemon)


def test_every_command_with_every_name_stays_in_the_account(daemon: Daemon) -> None:
    account = daemon.folder / "data" / "mail" / "example.org" / "alice"
    databases = [daemon.folder / "data" / "metrics", daemon.folder / "run"]
    before = _outside(daemon.folder, account, *databases)
    chance = random.Random(SEED)
    for form in (literal, lambda name: b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'):
        for name in NAMES:
            one, other = form(name), form(chance.choice(NAMES))
            commands = [
                b"CREATE " + one, b"SUBSCRIBE " + one, b"STATUS " + one + b" (MESSAGES UIDNEXT)", b"APPEND " + one + b" {1+}\r\nx",
                b"COPY 1 " + one, b'LIST "" ' + one, b"LIST " + one + b' "*"', b'LSUB "" ' + one, b"RENAME Work " + one,
                b"RENAME " + one + b" " + other, b"RENAME " + other + b" " + one, b"DELETE " + one, b"DELETE " + other,
                b"UNSUBSCRIBE " + one, b"SELECT " + one, b"CREATE Work", b"SETACL " + one + b" bob lr", b"GETACL " + one,
                b"SETMETADATA " + one + b" (/private/a x)", b"GETMETADATA " + one + b" /private/a", b"GETQUOTAROOT " + one,
                b"NOTIFY SET (mailboxes (" + one + b" " + other + b") (MessageNew MessageExpunge))",
                b"ESEARCH IN (subtree (" + one + b" " + other + b")) ALL", b"UID REPLACE 1 " + one + b" {1+}\r\nx", b"NOOP",
            ]  # fmt: skip
            answers = talk(daemon, b"".join(b"t%d %b\r\n" % each for each in enumerate([*commands, b"LOGOUT"])), 10.0)
            if b"* BYE" not in answers:
                for number in range(len(commands)):
                    assert answers.startswith(b"t%d " % number) or b"\r\nt%d " % number in answers, (
                        name,
                        number,
                        answers,
                    )
    assert _outside(daemon.folder, account, *databases) == before
    assert not Path("/tmp/mailbox-escaped").exists()
    inside = {path for path in tree(account) if ".." in path.split("/") or any(ord(letter) < 32 for letter in path)}
    assert inside == set()
    check_well(daemon)


@pytest.mark.parametrize("name", ["..", "a/../b", "../bob", ".", "a/./b", "x" * 10_000, "a\x01b"])
def test_such_a_name_is_refused_in_clear_words(daemon: Daemon, name: str) -> None:
    for verb in (b"CREATE %b", b"RENAME Trash %b", b"DELETE %b"):
        answer = talk(daemon, b"t " + verb % literal(name.encode()) + b"\r\nz LOGOUT\r\n", 10.0)
        assert answer.startswith((b"t NO ", b"t BAD ")), answer[:200]


def test_random_commands_of_a_user(daemon: Daemon) -> None:
    chance, end = random.Random(SEED), time.monotonic() + SECONDS
    while time.monotonic() < end:
        words = [chance.choice(FRAGMENTS) for _ in range(chance.randint(1, 60))]
        data = b"".join(
            b"a " + (b" " if chance.random() < 0.8 else b"").join(words[at : at + 5]) + b"\r\n"
            for at in range(0, 60, 5)
        )
        talk(daemon, noise(chance, data))
    check_well(daemon)


def test_random_commands_of_strangers(daemon: Daemon) -> None:
    chance, end = random.Random(SEED), time.monotonic() + SECONDS
    while time.monotonic() < end:
        data = b" ".join(chance.choice(FRAGMENTS) for _ in range(chance.randint(1, 60)))
        exchange(daemon.ports["imap"], noise(chance, data), half_open=chance.random() < 0.5)
    check_well(daemon)


def test_a_connection_may_end_after_any_byte(daemon: Daemon) -> None:
    whole = b"a APPEND INBOX {20+}\r\nSubject: cut\r\n\r\ncut..\r\nb IDLE\r\nDONE\r\nc FETCH 1:* (BODY[])\r\n"
    chance = random.Random(SEED)
    for end in sorted(chance.sample(range(len(whole)), 30)):
        with rude(daemon.ports["imaps"], tls=True) as connection:
            connection.sendall(LOGIN + b"s SELECT INBOX\r\n" + whole[:end])
            if end % 2:
                connection.recv(100)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    check_well(daemon)


def _outside(folder: Path, *without: Path) -> dict[str, str]:
    """Everything but the account; databases change with every login, so only that they are there, and not their logs, which
    come and go as jobs look at an account."""
    found = {
        path: digest for path, digest in tree(folder, *without).items() if not path.endswith((".db-shm", ".db-wal"))
    }
    return {path: "" if ".db" in path or path == "daemon.log" else digest for path, digest in found.items()}
