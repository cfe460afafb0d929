"""Real ManageSieve clients: sieve-connect over STARTTLS, and openssl by hand; mail by LMTP meets the script they put."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import eventually
from tests.support.postfix import needs_postfix, postfix
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


FRONT = """virtual_mailbox_domains = example.org
virtual_mailbox_maps = static:all
virtual_transport = lmtp:inet:127.0.0.1:{port}
smtpd_recipient_restrictions = reject_unverified_recipient, permit_mynetworks, reject
unverified_recipient_reject_code = 550
address_verify_map =
"""


@needs_postfix
@needs("swaks")
def test_postfix_in_front(person: Person, public_folder: Path, free_port: int) -> None:
    other = Person(person.server)
    send = ("swaks", "--server", f"127.0.0.1:{free_port}", "--from", "carol@remote.example", "--header", "Subject: hi")
    with postfix(public_folder, free_port, FRONT.format(port=person.server.ports["lmtp"])) as log:
        run(*send, "--to", f"{person.address},{other.address}")
        eventually("the message is there", lambda: "hi" in person.messages() and "hi" in other.messages())
        assert "No such mailbox" in run(*send, "--to", "nobody.at.all@example.org", codes=(24,))
        assert "status=sent (250 2.0.0 <" in log.read_text()
