"""A day with mail programs on a terminal: mutt, neomutt, alpine, aerc. They read, flag, file, search, remove and send."""

from __future__ import annotations

from pathlib import Path

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
set smtp_authenticators="plain"  # built with GSASL it would take -PLUS and then not know the channel binding
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
