"""A day with mail programs on a terminal: mutt, neomutt, alpine, aerc. They read, flag, file, search, remove and send."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.programs import PASSWORD, Person, needs
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("interop")]


@pytest.mark.parametrize("program", [pytest.param(each, marks=needs(each)) for each in ("mutt", "neomutt")])
def test_mutt(person: Person, tmp_path: Path, program: str) -> None:
    for number in range(5):
        person.put(f"message {number}", body=f"text of {number}\r\n")
    with person.imap() as client:
        client.create("Filed")
    ports = person.server.ports
    rc = tmp_path / "muttrc"
    rc.write_text(f"""set imap_user="{person.address}" imap_pass="{PASSWORD}"
set folder="imaps://localhost:{ports["imaps"]}/" spoolfile="+INBOX" record="+Sent" postponed="+Drafts"
set ssl_starttls=yes ssl_force_tls=yes certificate_file="{person.certificate}" ssl_verify_host=no
set smtp_url="smtps://{person.address.replace("@", "%40")}@localhost:{ports["submissions"]}/" smtp_pass="{PASSWORD}"
set from="{person.address}" realname="Person" editor="true" edit_headers=no sort=mailbox-order
set header_cache="{tmp_path}/cache" message_cachedir="{tmp_path}/bodies" mail_check=1 timeout=1 imap_idle=yes
set confirmappend=no delete=yes move=no quit=yes beep=no mark_old=no wait_key=no abort_unmodified=no
bind index,pager q quit
""")
    with Terminal(program, "-n", "-F", rc, env={"HOME": str(tmp_path)}) as terminal:
        terminal.until(lambda text: "message 4" in text)
        terminal.press("1\r\r", "text of 0")  # read the first
        terminal.press("i")
        terminal.press("2\rF", "message 1")  # flag the second
        terminal.press("3\rd4\r", "message 3")  # remove the third
        terminal.press("s+Filed\r")  # file the fourth
        terminal.press("$", "message 4")
        terminal.until(lambda text: "message 2" not in text and "message 3" not in text)
        person.put("news")
        terminal.until("news")  # it idles
        terminal.press(
            'l~b "text of 4"\r', lambda text: "message 0" not in text and "message 4" in text
        )  # searched there
        terminal.press("lall\r", "message 0")
        terminal.press(f"m{person.address}\r", "Subject:")
        terminal.press("to myself\r", "y:Send")
        terminal.press("y", lambda text: "y:Send" not in text and "to myself" in text)
        terminal.press("q")
        assert terminal.end() == 0
    found = person.messages()
    assert found == {
        "message 0": {"\\Seen"}, "message 1": {"\\Flagged"}, "message 4": set(), "news": set(), "to myself": set(),
    }  # fmt: skip
    assert set(person.messages("Filed")) == {"message 3"}
    assert person.messages("Sent") == {"to myself": {"\\Seen"}}


@needs("alpine")
def test_alpine(person: Person, tmp_path: Path) -> None:
    for number in range(5):
        person.put(f"message {number}", body=f"text of {number}\r\n")
    with person.imap() as client:
        client.create("Filed")
    ports = person.server.ports
    rc = tmp_path / "pinerc"
    # the certificate is nobody's: alpine trusts system-wide authorities only
    rc.write_text(f"""inbox-path={{localhost:{ports["imaps"]}/ssl/novalidate-cert/user="{person.address}"}}INBOX
folder-collections=Mail {{localhost:{ports["imaps"]}/ssl/novalidate-cert/user="{person.address}"}}[]
smtp-server=localhost:{ports["submissions"]}/ssl/novalidate-cert/user="{person.address}"
default-fcc=Sent
personal-name=Person
user-domain=example.org
customized-hdrs=From: {person.address}
last-version-used=6.26
feature-list=disable-password-file-saving,enable-aggregate-command-set,quit-without-confirm,
    expunge-without-confirm,expunge-without-confirm-everywhere,enable-flag-cmd
""")
    with Terminal("alpine", "-p", rc, "-i", env={"HOME": str(tmp_path)}) as terminal:
        terminal.until("ENTER PASSWORD")
        terminal.press(f"{PASSWORD}\r", "message 4")
        terminal.press(">", "text of 0")
        terminal.press("<", "message 4")
        terminal.press("n*", "[Important]")
        terminal.press("*", lambda text: "[Important]" not in text)
        terminal.press("nd", "D   3")
        terminal.press("s", "SAVE Msg #4")
        terminal.press("\x15Filed\r", "D   4")
        terminal.press("c", "COMPOSE MESSAGE")
        terminal.press(f"{person.address}\r\r\rto myself\rtext to myself\r\x18", "Send message?")
        terminal.press("y", "ENTER PASSWORD")
        terminal.press(f"{PASSWORD}\r", lambda text: "COMPOSE" not in text and "to myself" in text)
        terminal.press(";", "SELECT criteria")
        terminal.press("t", "ubj")
        terminal.press("a", lambda text: "SELECT criteria" not in text)
        terminal.press("text of 4\r", lambda text: "ZOOMED" in text or "Selecting DONE" in text)  # searched there
        terminal.press("q")
        assert terminal.end() == 0
    assert person.messages() == {
        "message 0": {"\\Seen"}, "message 1": {"\\Flagged"}, "message 4": set(), "to myself": set(),
    }  # fmt: skip
    assert set(person.messages("Filed")) == {"message 3"}
    assert set(person.messages("Sent")) == {"to myself"}


@needs("aerc")
def test_aerc(person: Person, tmp_path: Path) -> None:
    for number in range(4):
        person.put(f"message {number}", body=f"text of {number}\r\n")
    with person.imap() as client:
        client.create("Filed")
    ports = person.server.ports
    login = f"{quote(person.address, safe='')}:{quote(PASSWORD)}"
    settings = tmp_path / "aerc"
    settings.mkdir()
    (settings / "accounts.conf").write_text(f"""[day]
source = imaps://{login}@localhost:{ports["imaps"]}
outgoing = smtps+plain://{login}@localhost:{ports["submissions"]}
from = Person <{person.address}>
default = INBOX
copy-to = Sent
""")
    (settings / "aerc.conf").write_text("[general]\nunsafe-accounts-conf=true\n[filters]\ntext/plain=cat\n")
    homes = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    with Terminal("aerc", env={**homes, "SSL_CERT_FILE": str(person.certificate), "EDITOR": "true"}) as terminal:
        terminal.until("message 0")  # newest first
        terminal.press("\r", "text of 3")
        terminal.press("q", "message 0")
        terminal.press("j:flag\r", "! message 2")
        terminal.press("j:move Filed\r", lambda text: "message 1" not in text)
        terminal.press(":delete\r", lambda text: "message 0" not in text)
        terminal.press(':search -b "text of 2"\r', "search -b text of 2")
        terminal.press(":mkdir New/Box\r", "(no messages)")  # it goes there
        terminal.press(":cf INBOX\r", "message 2")
        terminal.press(f':compose -H "To: {person.address}" -H "Subject: to myself"\r', "Send this email?")
        terminal.press("y", "Message sent")
        person.put("news")
        terminal.until("news")  # it idles
        terminal.press(":quit\r")
        assert terminal.end() == 0
    assert person.messages() == {
        "message 2": {"\\Flagged"}, "message 3": {"\\Seen"}, "to myself": set(), "news": set(),
    }  # fmt: skip
    assert set(person.messages("Filed")) == {"message 1"}
    assert set(person.messages("Sent")) == {"to myself"}
    assert {"New", "New/Box"} <= person.mailboxes()
