"""Real ManageSieve clients: sieve-connect over STARTTLS, and openssl by hand; mail by LMTP meets the script they put."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import eventually
from tests.support.programs import PASSWORD, Person, needs, run

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("interop")]
SCRIPT = 'require ["fileinto", "reject"];\nif header :contains "subject" "list" { fileinto "Junk"; }\n'


def connect(person: Person, *options: object, codes: tuple[int, ...] = (0,)) -> str:
    words = ("sieve-connect", "-s", "localhost", "-p", person.server.ports["managesieve"], "-u", person.address)
    trust = ("--tlscafile", person.certificate, "--passwordfd", 0)
    return run(*words, *trust, *options, stdin=PASSWORD + "\n", codes=codes)


@needs("sieve-connect")
def test_sieve_connect(person: Person, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.sieve", tmp_path / "bad.sieve"
    good.write_text(SCRIPT)
    bad.write_text("keep;\n  fooo;\n")
    connect(person, "--localsieve", good, "--remotesieve", "main", "--upload")
    connect(person, "--remotesieve", "main", "--activate")
    assert '"main" ACTIVE' in connect(person, "--list")
    assert connect(person, "--remotesieve", "main", "--download", "--localsieve", "-").strip() == SCRIPT.strip()
    assert "line 2, column 3" in connect(person, "--localsieve", bad, "--remotesieve", "bad", "--upload", codes=(1,))
    assert "ACTIVE" in connect(person, "--remotesieve", "main", "--delete", codes=(1,))
    connect(person, "--deactivate")
    connect(person, "--remotesieve", "main", "--delete")
    assert connect(person, "--list").strip() == ""


@needs("openssl")
def test_openssl(person: Person) -> None:
    address = f"127.0.0.1:{person.server.ports['managesieve']}"
    done = subprocess.Popen(
        [
            "openssl",
            "s_client",
            "-connect",
            address,
            "-starttls",
            "sieve",
            "-quiet",
            "-CAfile",
            str(person.certificate),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    out, _ = done.communicate(b'NOOP "tag"\r\nLOGOUT\r\n', timeout=20)
    assert b'OK (TAG "tag") "Still here"\r\nOK "Goodbye"\r\n' in out


@needs("swaks")
@needs("sieve-connect")
@pytest.mark.parametrize("how", ["TCP", "Unix socket"])
def test_swaks_by_lmtp(person: Person, tmp_path: Path, how: str) -> None:
    other = Person(person.server)
    script = tmp_path / "main.sieve"
    script.write_text('require "reject";\nif header :contains "subject" "list" { reject "no lists"; }\n')
    connect(person, "--localsieve", script, "--remotesieve", "main", "--upload")
    connect(person, "--remotesieve", "main", "--activate")
    server = person.server
    door = ("--server", f"127.0.0.1:{server.ports['lmtp']}") if how == "TCP" else ("--socket", server.folder / "lmtp")
    said = run(
        "swaks", "--protocol", "LMTP", *door, "--from", "carol@remote.example", "--to", f"{person.address},{other.address}",
        "--header", "Subject: a list", codes=(0, 26),
    )  # fmt: skip
    assert f"550 5.7.1 <{person.address}> no lists" in said
    assert f"250 2.0.0 <{other.address}> " in said
    assert set(other.messages()) == {"a list"}
    assert person.messages() == {}


POSTFIX_MAIN = """compatibility_level = 3.6
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
virtual_mailbox_domains = example.org
virtual_mailbox_maps = static:all
virtual_transport = lmtp:inet:127.0.0.1:{port}
smtpd_recipient_restrictions = reject_unverified_recipient, permit_mynetworks, reject
unverified_recipient_reject_code = 550
address_verify_map =
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
"""
POSTFIX_MASTER = """127.0.0.1:{smtp} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
proxymap unix - - n - - proxymap
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
verify unix - - n - 1 verify
lmtp unix - - n - - lmtp
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


@needs("postfix")
@needs("swaks")
@pytest.mark.skipif(os.geteuid() != 0, reason="Postfix is started by root only")
def test_postfix_in_front(person: Person, public_folder: Path, free_port: int) -> None:
    other = Person(person.server)
    folder = public_folder
    for name in ("spool", "data", "etc"):
        (folder / name).mkdir()
    run("chown", "postfix", folder / "data")
    words = {"folder": folder, "port": person.server.ports["lmtp"], "smtp": free_port}
    (folder / "etc/main.cf").write_text(POSTFIX_MAIN.format(**words))
    (folder / "etc/master.cf").write_text(POSTFIX_MASTER.format(**words))
    run("/usr/sbin/postfix", "-c", folder / "etc", "start")
    try:
        send = (
            "swaks",
            "--server",
            f"127.0.0.1:{free_port}",
            "--from",
            "carol@remote.example",
            "--header",
            "Subject: hi",
        )
        both = f"{person.address},{other.address}"
        run(*send, "--to", both)
        eventually("the message is there", lambda: "hi" in person.messages() and "hi" in other.messages())
        assert "No such mailbox" in run(*send, "--to", "nobody.at.all@example.org", codes=(24,))
        log = (folder / "log").read_text()
        assert "status=sent (250 2.0.0 <" in log
    finally:
        run("/usr/sbin/postfix", "-c", folder / "etc", "stop", codes=(0, 1))
