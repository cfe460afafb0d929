"""Programs that fetch mail: fetchmail and getmail, over POP3 and IMAP. What is kept is not fetched again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.programs import PASSWORD, Person, needs, run

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("interop")]
NOTHING_NEW = 1
"""fetchmail's exit code."""


def three_messages(person: Person) -> None:
    for number in range(3):
        person.put(f"message {number}", body=f".first\r\n..\r\nFrom here on {number}\r\n")


@needs("fetchmail")
@pytest.mark.parametrize("kind", ["pop3s", "pop3", "imaps", "imap"])
def test_fetchmail(person: Person, tmp_path: Path, kind: str) -> None:
    three_messages(person)
    box = tmp_path / "mbox"
    config = tmp_path / "fetchmailrc"
    tls = "ssl" if kind.endswith("s") else 'sslproto "TLS1.2+"'
    config.write_text(f"""set no bouncemail
poll localhost protocol {kind.removesuffix("s")} port {person.server.ports[kind]} {"uidl" if "pop3" in kind else ""}
    user "{person.address}" password "{PASSWORD}" {tls} sslcertck sslcertfile "{person.certificate}"
    mda "sed '$a\\\\====' >> {box}"
""")
    config.chmod(0o600)

    def fetch(*options: str, codes: tuple[int, ...] = (0,)) -> None:
        command = ("fetchmail", "-f", config, "--idfile", tmp_path / "ids", "--pidfile", tmp_path / "pid", "--nosyslog")
        run(*command, *options, env={"FETCHMAILHOME": str(tmp_path)}, codes=codes)

    fetch("--keep")
    text = box.read_text()
    assert text.count("Subject: message") == 3
    assert "\n.first\n..\nFrom here on 2\n" in text
    fetch("--keep", codes=(NOTHING_NEW,))
    person.put("message 3")
    fetch("--keep")
    assert box.read_text().count("Subject: message") == 4
    assert set(person.messages()) == {f"message {number}" for number in range(4)}
    fetch("--all", "--nokeep")
    assert box.read_text().count("Subject: message") == 8
    assert person.messages() == {}


@needs("getmail")
@pytest.mark.parametrize(
    ("kind", "retriever"), [("pop3s", "SimplePOP3SSLRetriever"), ("imaps", "SimpleIMAPSSLRetriever")]
)
def test_getmail(person: Person, tmp_path: Path, kind: str, retriever: str) -> None:
    three_messages(person)
    box = tmp_path / "mbox"
    config = tmp_path / "getmailrc"

    def fetch(*, delete: bool = False) -> set[str]:
        config.write_text(f"""[retriever]
type = {retriever}
server = localhost
port = {person.server.ports[kind]}
username = {person.address}
password = {PASSWORD}
ca_certs = {person.certificate}

[destination]
type = MDA_external
path = /bin/sh
arguments = ("-c", "cat >> {box}")
allow_root_commands = true

[options]
read_all = {"true" if delete else "false"}
delete = {"true" if delete else "false"}
delivered_to = false
received = false
""")
        box.write_text("")
        run("getmail", "--getmaildir", tmp_path, "--rcfile", config)
        return {line for line in box.read_text().splitlines() if line.startswith("Subject:")}

    assert fetch() == {f"Subject: message {number}" for number in range(3)}
    assert fetch() == set()
    person.put("message 3")
    assert fetch() == {"Subject: message 3"}
    assert fetch(delete=True) == {f"Subject: message {number}" for number in range(4)}
    assert person.messages() == {}
    assert box.read_text().count("\n.first\n..\nFrom here on ") == 3
