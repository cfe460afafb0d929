"""The demo's steps. Each one proves something and gives back the evidence, line by line, or raises `DemoError`."""

from __future__ import annotations

import contextlib
import imaplib
import smtplib
import time
from collections.abc import Callable, Iterator

from mailbox_app.demo.appliance import Appliance, DemoError, StrangerClient, send
from mailbox_app.demo.internet import FORGER_ADDRESS, FRIEND_ADDRESS, STRANGER_ADDRESS, Internet

ALICE = "alice@example.org"
PASSWORD = "correct horse battery"  # noqa: S105 - of a throw-away account
STRANGER = "eve@unknown.example"
FORGER = "mallory@cheap.example"
WAIT_SECONDS = 15.0

Evidence = list[str]
Row = dict[str, str | int]


class Story:
    """What happens, in order. `steps` are (title, function) pairs; a function returns its evidence."""

    def __init__(self, appliance: Appliance, internet: Internet) -> None:
        self.appliance = appliance
        self.internet = internet
        self.grey_id = ""

    @property
    def steps(self) -> list[tuple[str, Callable[[], Evidence]]]:
        """The whole story."""
        return [
            ("set up a domain, an account and a DKIM key", self.set_up),
            ("receive a signed message from another server", self.receive),
            ("read it over IMAP", self.read),
            ("a stranger without a name is asked to come back, and let in by the operator", self.greylist),
            ("a forged message is refused, and trace tells why", self.forged),
            ("a filter script files a message", self.filter),
            ("submit a message; a greylisting server defers it", self.submit_to_greylister),
            ("a slow server holds up nobody else", self.submit_to_slow),
            ("retry; the greylisting server takes it, signed", self.retry),
            ("a refused recipient comes back as a report", self.bounce),
            ("the operator pauses a domain; its mail says so and waits, then goes", self.pause),
            ("the audit log holds every change, and its chain verifies", self.audit),
            ("metrics have moved", self.metrics),
            ("stop: sessions are told, nothing is lost", self.stop),
        ]

    def set_up(self) -> Evidence:
        """Commands only, as in the first ten minutes of the manual."""
        run = self.appliance.command
        run("domain", "add", "example.org")
        run("user", "add", ALICE, "--password-file", "-", stdin=PASSWORD + "\n")
        run("dkim", "generate", "example.org")
        keys = self.appliance.query("dkim", "list", "example.org")["keys"]
        for record in self.appliance.query("domain", "dns", "example.org")["records"]:
            if record["type"] == "TXT":
                self.internet.publish(record["name"].rstrip("."), "TXT", record["value"])
        return [
            "mailbox domain add example.org",
            f"mailbox user add {ALICE}",
            *(
                f"dkim key {key['selector']} ({key['algorithm']}), its record published in the pretend DNS"
                for key in keys
            ),
        ]

    def receive(self) -> Evidence:
        """A stranger's server delivers, from the address its SPF record names, with its DKIM signature."""
        signed = self.internet.signed_greeting(ALICE)
        client = smtplib.SMTP(timeout=20, local_hostname="mx.friend.example", source_address=(FRIEND_ADDRESS, 0))
        with client:
            _, banner = client.connect("127.0.0.1", self.appliance.ports["smtp"])
            reply = send(client, "bob@friend.example", [ALICE], signed)
        return [f"S: 220 {banner.decode()}", f"C: MAIL FROM:<bob@friend.example> RCPT TO:<{ALICE}> DATA", f"S: {reply}"]

    def read(self) -> Evidence:
        """LOGIN, SELECT, FETCH: the envelope, the checks' result, the trace."""
        with self._inbox() as client:
            _, envelope = client.fetch("1", "(UID FLAGS ENVELOPE)")
            _, fields = client.fetch(
                "1", "(BODY.PEEK[HEADER.FIELDS (Return-Path Received Authentication-Results X-Mailbox-Verdict)])"
            )
        header = fields[0][1].decode() if isinstance(fields[0], tuple) else ""
        for needed in (
            "spf=pass",
            "dkim=pass",
            "Return-Path: <bob@friend.example>",
            "Received: from mx.friend.example",
        ):
            if needed not in header:
                raise DemoError(f"the stored message lacks {needed!r}:\n{header}")
        told = envelope[0].decode() if isinstance(envelope[0], bytes) else repr(envelope[0])
        return [f"* {told}", *header.strip().splitlines()]

    def greylist(self) -> Evidence:
        """451 at the first try; one command later the same letter is welcome."""
        words = (f"MAIL FROM:<{STRANGER}>", f"RCPT TO:<{ALICE}>")
        with StrangerClient(STRANGER_ADDRESS, "somewhere") as client:
            client.connect("127.0.0.1", self.appliance.ports["smtp"])
            first = _ask(client, *words, wanted=451)
            waiting = self.appliance.query("greylist", "list")["waiting"]
            row = next(each for each in waiting if each["sender"] == STRANGER)
            self.appliance.command("greylist", "allow", str(row["greylist_id"]), "--now")
            second = _ask(client, *words, wanted=250)
        return [f"C: {words[1]}", f"S: {first}", f"waits because: {row['reason']}",
                f"mailbox greylist allow {row['greylist_id']} --now", f"S: {second}"]  # fmt: skip

    def forged(self) -> Evidence:
        """A well set-up server writes as a bank whose DMARC policy says reject."""
        forged = letter(ALICE, "Your account").replace(f"Alice <{ALICE}>", "Bank <service@bank.example>").encode()
        with StrangerClient(FORGER_ADDRESS, "mail.cheap.example") as client:
            client.connect("127.0.0.1", self.appliance.ports["smtp"])
            try:
                reply = send(client, FORGER, [ALICE], forged)
            except DemoError as refusal:
                reply = str(refusal)
        if "550" not in reply:
            raise DemoError(f"a forged message was not refused: {reply}")
        rows: list[Row] = []

        def look() -> list[Row]:
            rows.extend(self.appliance.query("trace", "--address", FORGER)["rows"])
            return rows

        self._wait_until(look, "the record of the refusal")
        session_id = str(rows[0]["session_id"])
        told = self.appliance.command("trace", session_id).strip().splitlines()
        return [f"S: {reply}", f"mailbox trace {session_id}", *told]

    def filter(self) -> Evidence:
        """The account's own rule, put in place by command; then a message that fits it."""
        script = (
            'require ["fileinto", "mailbox"];\nif header :contains "subject" "lunch" { fileinto :create "Meals"; }\n'
        )
        self.appliance.command("sieve", "put", ALICE, "main", "-", "--activate", stdin=script)
        self.receive()
        with self._inbox() as client:
            _, data = client.status("Meals", "(MESSAGES)")
        counted = (data[0] or b"").decode()
        if "MESSAGES 1" not in counted:
            raise DemoError(f"the script did not file it: {counted}")
        return [*script.strip().splitlines(), f"* STATUS {counted}"]

    def submit_to_greylister(self) -> Evidence:
        """The first try is answered 451, so the message waits in the queue."""
        reply = self.appliance.submit(ALICE, PASSWORD, ["carol@grey.example"], letter("carol@grey.example", "Minutes"))
        row = self._wait_for_queue(lambda rows: next((r for r in rows if r["code"] == 451), None), "a deferral")
        self.grey_id = str(row["id"])
        why = str(self.appliance.query("queue", "show", self.grey_id)["why"])
        if "451" not in why or "next try" not in why:
            raise DemoError(f"the queue does not say why the message waits: {why}")
        return [
            f"S: {reply}",
            f"mailbox queue show {self.grey_id}",
            why,
        ]

    def submit_to_slow(self) -> Evidence:
        """While one server dawdles, mail for another goes out."""
        slow, quick = "dave@slow.example", "bob@friend.example"
        started = time.monotonic()
        self.appliance.submit(ALICE, PASSWORD, [slow, quick], letter(slow, "To two of you"))
        self._wait_until(lambda: self.internet.received(quick), "the quick server's copy")
        quick_seconds = time.monotonic() - started
        self._wait_until(lambda: self.internet.received(slow), "the slow server's copy")
        slow_seconds = time.monotonic() - started
        return [f"{quick} after {quick_seconds:.2f} s, {slow} after {slow_seconds:.2f} s, from one submission"]

    def retry(self) -> Evidence:
        """The operator does not want to wait five minutes."""
        self.appliance.command("queue", "retry", self.grey_id)
        self._wait_until(lambda: self.internet.received("carol@grey.example"), "the greylisting server's copy")
        message = self.internet.received("carol@grey.example")[-1]
        results = self.internet.verify_signatures(message)
        if not results or not all(results.values()):
            raise DemoError(f"DKIM does not verify at the other side: {results}")
        self._wait_for_queue(lambda rows: not rows, "an empty queue")
        return [
            f"mailbox queue retry {self.grey_id}",
            *(f"DKIM-Signature {name} verifies at mx.grey.example" for name in results),
            "the queue is empty",
        ]

    def bounce(self) -> Evidence:
        """A 550 for one recipient becomes one delivery report in the sender's mailbox, and stays in the history."""
        nobody = "nobody@friend.example"
        self.appliance.submit(ALICE, PASSWORD, [nobody], letter(nobody, "Are you there?"))
        self._wait_until(lambda: self._count() == 2, "the report in the mailbox")
        with self._inbox() as client:
            _, parts = client.fetch("2", "(BODY.PEEK[])")
        report = parts[0][1].decode() if isinstance(parts[0], tuple) else ""
        wanted = ("Return-Path:", "Content-Type:", "Action:", "Status:", "Final-Recipient:", "Diagnostic-Code:")
        lines = [line for line in report.splitlines() if line.startswith(wanted)]
        if not any("5.1.1" in line for line in lines):
            raise DemoError(f"no status in the report:\n{report}")
        left = self.appliance.query("queue", "history", "--to", nobody)["rows"]
        if not left or left[0]["fate"] != "failed":
            raise DemoError(f"the history does not know what became of it: {left}")
        return [*lines, f"mailbox queue history: {nobody} {left[0]['fate']}, {left[0]['code']} {left[0]['text']}"]

    def pause(self) -> Evidence:
        """Mail to a paused domain is taken and waits in sight."""
        bob = "bob@friend.example"
        before = len(self.internet.received(bob))
        self.appliance.command("queue", "pause", "friend.example", "--reason", "they move house")
        self.appliance.submit(ALICE, PASSWORD, [bob], letter(bob, "Boxes"))
        row = self._wait_for_queue(lambda rows: next((r for r in rows if r["to"] == bob), None), "the waiting message")
        why = str(self.appliance.query("queue", "show", str(row["id"]))["why"])
        if "they move house" not in why:
            raise DemoError(f"the message does not say that its domain is paused: {why}")
        self.appliance.command("queue", "resume", "friend.example")
        self._wait_until(lambda: len(self.internet.received(bob)) > before, "the message after the pause")
        return ["mailbox queue pause friend.example", f"mailbox queue show {row['id']}", why,
                "mailbox queue resume friend.example", f"{bob} has it"]  # fmt: skip

    def audit(self) -> Evidence:
        """Who changed what, and that nobody changed the record."""
        entries = self.appliance.query("audit", "list")["entries"]
        verdict = self.appliance.command("audit", "verify").strip()
        return [
            *(f"{entry['no']} {entry['who']} {entry['what']} {entry['object']}" for entry in reversed(entries)),
            verdict,
        ]

    def metrics(self) -> Evidence:
        """What a Prometheus server would collect."""
        page = self.internet.get(self.appliance.ports["metrics"], "/metrics")
        wanted = ("messages_received_total", "messages_sent_total", "messages_bounced_total", "messages_queued_total")
        lines = [line for line in page.splitlines() if line.startswith(tuple(f"mailserver_{name}" for name in wanted))]
        if len(lines) < len(wanted) or any(float(line.split()[-1]) == 0 for line in lines):
            raise DemoError(f"a counter stood still: {lines}")
        return lines

    def stop(self) -> Evidence:
        """SIGTERM drains within ten seconds; an open IMAP session is told BYE."""
        client = self.appliance.mailbox(ALICE, PASSWORD)
        seconds = self.appliance.stop()
        said = client.file.readline().decode().strip() if client.file else ""
        client.shutdown()
        if "BYE" not in said:
            raise DemoError(f"the open session was not told: {said!r}")
        return [f"S: {said}", f"stopped in {seconds:.2f} s"]

    @contextlib.contextmanager
    def _inbox(self) -> Iterator[imaplib.IMAP4_SSL]:
        client = self.appliance.mailbox(ALICE, PASSWORD)
        try:
            yield client
        finally:
            client.logout()

    def _count(self) -> int:
        with self._inbox() as client:
            _, data = client.status("INBOX", "(MESSAGES)")
        return int((data[0] or b"0)").rpartition(b" ")[2].rstrip(b")"))

    def _wait_for_queue(self, wanted: Callable[[list[Row]], Row | bool | None], what: str) -> Row:
        found: list[Row | bool] = []

        def look() -> bool:
            rows = self.appliance.query("queue", "list")["rows"]
            if answer := wanted(rows):
                found.append(answer)
            return bool(found)

        self._wait_until(look, what)
        return found[0] if isinstance(found[0], dict) else {}

    def _wait_until(self, happened: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not happened():
            if time.monotonic() > deadline:
                raise DemoError(f"{what} did not come within {WAIT_SECONDS:.0f} s:\n{self.appliance.log_tail()}")
            time.sleep(0.05)


def _ask(client: smtplib.SMTP, sender: str, recipient: str, *, wanted: int) -> str:
    """MAIL and RCPT, then RSET: the answer to RCPT."""
    client.ehlo_or_helo_if_needed()
    client.docmd(sender)
    code, reply = client.docmd(recipient)
    client.docmd("RSET")
    text = f"{code} {reply.decode(errors='replace')}"
    if code != wanted:
        raise DemoError(f"RCPT was answered {text}, not {wanted}")
    return text


def letter(to: str, subject: str) -> str:
    """A plain message as a mail program would submit it (no Date or Message-ID: the server adds them)."""
    return (
        f"From: Alice <{ALICE}>\r\nTo: <{to}>\r\nSubject: {subject}\r\n\r\nHello,\r\n\r\nthis is {subject.lower()}.\r\n"
    )
