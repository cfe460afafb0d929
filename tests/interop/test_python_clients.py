"""A day of use with each of Python's mail clients: look, read, flag, file, search, remove, and hear of new mail."""

from __future__ import annotations

import imaplib
import poplib
import ssl

import aioimaplib
import imapclient
import pytest

from tests.support.programs import PASSWORD, Person

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("interop")]


def trusting(person: Person) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(person.certificate))


def test_imaplib(person: Person) -> None:
    for number in range(5):
        person.put(f"message {number}")
    client = imaplib.IMAP4("localhost", person.server.ports["imap"], timeout=30)
    client.starttls(trusting(person))
    client.login(person.address, PASSWORD)
    assert client.select()[1] == [b"5"]
    assert client.search(None, "SUBJECT", '"message 3"')[1] == [b"4"]
    assert client.store("1,2", "+FLAGS", r"(\Seen $Label1)")[0] == "OK"
    assert client.create("Work/2026")[0] == "OK"
    assert client.copy("1:2", "Work/2026")[0] == "OK"
    assert client.store("1", "+FLAGS", r"(\Deleted)")[0] == "OK"
    assert client.expunge() == ("OK", [b"1"])
    assert client.fetch("1", "(BODY.PEEK[TEXT])")[1][0][1] == b"hello\r\n"  # type: ignore[index]
    assert (
        client.append("Work/2026", r"(\Draft)", imaplib.Time2Internaldate(1_700_000_000), b"Subject: d\n\nx")[0] == "OK"
    )
    assert client.rename("Work/2026", "Work/2025")[0] == "OK"
    assert client.status("Work/2025", "(MESSAGES UIDNEXT UNSEEN)")[0] == "OK"
    assert client.subscribe("Work/2025")[0] == "OK"
    assert client.close()[0] == "OK"
    assert client.logout()[0] == "BYE"
    assert person.messages() == {
        "message 1": {"\\Seen", "$Label1"}, "message 2": set(), "message 3": set(), "message 4": set(),
    }  # fmt: skip
    assert person.messages("Work/2025")["d"] == {"\\Draft"}


@pytest.mark.parametrize("kind", ["pop3s", "pop3"])
def test_poplib(person: Person, kind: str) -> None:
    for number in range(3):
        person.put(f"message {number}", body=".dots\r\n..\r\n")
    ids = []
    for turn in range(2):
        if kind == "pop3s":
            client: poplib.POP3 = poplib.POP3_SSL("localhost", person.server.ports[kind], context=trusting(person))
        else:
            client = poplib.POP3("localhost", person.server.ports[kind], timeout=30)
            with pytest.raises(poplib.error_proto, match="STLS first"):
                client.user(person.address)
            client.stls(trusting(person))
        assert "UTF8" in client.capa()
        client.utf8()
        client.user(person.address)
        client.pass_(PASSWORD)
        count, size = client.stat()
        assert count == 3 - turn
        assert size == sum(int(row.split()[1]) for row in client.list()[1])
        ids.append([row.split()[1] for row in client.uidl()[1]])
        lines = client.retr(1)[1]
        assert lines[-2:] == [b".dots", b".."]
        assert client.top(2, 1)[1][-1] == b".dots"
        client.dele(1)
        client.rset()
        assert client.stat() == (count, size)
        client.dele(1)
        client.quit()
    assert ids[1] == ids[0][1:]
    assert set(person.messages()) == {"message 2"}


def test_imapclient(person: Person) -> None:
    for number in range(4):
        person.put(f"message {number}")
    with imapclient.IMAPClient(
        "localhost", person.server.ports["imaps"], ssl_context=trusting(person), timeout=30
    ) as client:
        client.plain_login(person.address, PASSWORD)
        assert client.has_capability("IDLE")
        assert client.namespace().personal
        assert {b"\\Sent", b"\\Trash"} <= {flag for flags, _, _ in client.list_folders() for flag in flags}
        assert client.select_folder("INBOX")[b"EXISTS"] == 4
        (found,) = client.search(["SUBJECT", "message 2"])
        envelope = client.fetch([found], ["ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE", "INTERNALDATE"])[found][
            b"ENVELOPE"
        ]
        assert envelope.subject == b"message 2"
        client.add_flags([found], [imapclient.FLAGGED, "$Junk"])
        client.create_folder("Grüße & Küsse")
        client.move([found], "Grüße & Küsse")
        with pytest.raises(imapclient.exceptions.IMAPClientError):
            client.create_folder("Grüße & Küsse")
        client.append("Sent", b"Subject: sent\r\n\r\nx\r\n", flags=[imapclient.SEEN])
        client.idle()
        person.put("news")
        assert (4, b"EXISTS") in client.idle_check(timeout=20)
        client.idle_done()
        client.delete_messages(client.search(["SUBJECT", "news"]))
        client.expunge()
        client.unselect_folder()
        assert client.folder_status("Grüße & Küsse", ["MESSAGES"]) == {b"MESSAGES": 1}
        client.rename_folder("Grüße & Küsse", "Küsse")
        client.select_folder("Küsse", readonly=True)
        ((_, row),) = client.fetch(client.search(), ["FLAGS"]).items()
        assert {imapclient.FLAGGED, b"$Junk"} <= set(row[b"FLAGS"])
    assert set(person.messages()) == {"message 0", "message 1", "message 3"}
    assert person.messages("Sent") == {"sent": {"\\Seen"}}


async def test_aioimaplib(person: Person) -> None:
    for number in range(3):
        person.put(f"message {number}")
    client = aioimaplib.IMAP4_SSL("localhost", person.server.ports["imaps"], ssl_context=trusting(person), timeout=30)
    await client.wait_hello_from_server()
    assert (await client.login(person.address, PASSWORD)).result == "OK"
    assert client.has_capability("MOVE")
    assert client.has_capability("IDLE")
    assert (await client.select()).result == "OK"
    assert (await client.search("UNSEEN")).lines[0] == b"1 2 3"
    assert (await client.uid("store", "1", "+FLAGS", r"(\Seen)")).result == "OK"
    answer = await client.fetch("2", "(UID BODY.PEEK[])")
    assert any(b"Subject: message 1" in line for line in answer.lines)
    assert (await client.create("Archive/Old")).result == "OK"
    assert (await client.uid("move", "2", "Archive/Old")).result == "OK"
    idling = await client.idle_start(timeout=30)
    person.put("news")
    pushed = await client.wait_server_push(timeout=20)
    while not any(line.endswith(b"EXISTS") for line in pushed):
        pushed = await client.wait_server_push(timeout=20)
    client.idle_done()
    await idling
    assert (await client.append(b"Subject: appended\r\n\r\nx\r\n", "Archive/Old", r"\Seen")).result == "OK"
    assert (await client.logout()).result == "OK"
    assert person.messages() == {"message 0": {"\\Seen"}, "message 2": set(), "news": set()}
    assert person.messages("Archive/Old") == {"message 1": set(), "appended": {"\\Seen"}}
