"""What judging and filtering cost: CPU of the server for a 10 KB message through everything, beside plain acceptance.

usage: pipeline.py [--count 300] [--runs 3] [--concurrency 1,10] [--mailbox EXECUTABLE] [--single] [--keep-dns-cold]

plain: an unsigned message from this machine to an account without a script, all checks switched off. whole: from a stranger's address (told by PROXY),
SPF, one RSA signature of 2,048 bits, DMARC, confirmed host name, greylist (known), a classifier trained with 300 messages, and a
20-line Sieve script; DNS from a server on loopback. Both alternate, each on a daemon of its own; each run ends when the server has nothing left
to do, so what it does later (journal, search index) counts. --keep-dns-cold: every message comes from a domain never seen
before, so nothing is in the resolver's cache. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import socket
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

import memory
from product import Product

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from mailbox_app.demo.dns_server import DnsServer, Zone  # noqa: E402
from mailbox_app.policy.checks import CHECKS  # noqa: E402

CLIENT = "198.51.100.25"
CONFIG = """
[proxy]
trusted_networks = ["127.0.0.1/32"]
[greylist]
who = "unknown"
min_delay = "1s"
[abuse]
client_connections_per_minute = 1000000
network_connections_per_minute = 1000000
client_messages_per_hour = 1000000
network_messages_per_hour = 1000000
"""
OFF = "[policy.checks]\n" + "".join(f'{name} = "off"\n' for name in sorted({each.name for each in CHECKS}))  # type: ignore[attr-defined]
SCRIPT = """require ["fileinto", "imap4flags", "envelope", "variables", "relational", "comparator-i;ascii-numeric",
         "body", "subaddress", "mailbox"];
# what an ordinary person's script is like
if header :contains "list-id" ["announce", "newsletter"] {
    fileinto :create "Lists";
} elsif address :domain :is "from" ["shop.example", "ads.example"] {
    fileinto :create "Shops";
} elsif header :matches "subject" "[*] *" {
    set :lower "project" "${1}";
    fileinto :create "Projects/${project}";
} elsif envelope :detail :is "to" "bills" {
    fileinto :create "Bills";
} elsif size :over 5M {
    addflag "$Large";
} elsif allof (header :contains "x-priority" "1", not address :is "from" "robot@sender.example") {
    addflag "\\\\Flagged";
} elsif body :text :contains "your invoice number" {
    addflag "$Invoice";
}
if header :value "gt" :comparator "i;ascii-numeric" "x-spam-score" "8" { fileinto "Junk"; stop; }
keep;
"""


class World:
    """A DNS server in a thread of its own, with a sender that has everything in order."""

    def __init__(self, *, ttl: int) -> None:
        key = rsa.generate_private_key(65537, 2048)
        self.private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._public = base64.b64encode(public).decode()
        self.zone: Zone = {("25.100.51.198.in-addr.arpa", "PTR"): ["mail.sender.example."]}
        self.add("sender.example")
        self.zone["mail.sender.example", "A"] = [CLIENT]
        self.zone["mail.sender.example", "TXT"] = ['"v=spf1 a -all"']
        self.server = DnsServer({}, ttl=ttl)
        self.server.zone = self.zone
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result()

    def add(self, domain: str) -> None:
        """A domain with SPF, a key and a DMARC policy."""
        text = f"v=DKIM1; k=rsa; p={self._public}"
        self.zone[domain, "TXT"] = [f'"v=spf1 ip4:203.0.113.0/24 ip4:{CLIENT} -all"']
        self.zone[domain, "MX"] = ["10 mail.sender.example."]
        self.zone[f"s1._domainkey.{domain}", "TXT"] = [f'"{text[:200]}" "{text[200:]}"']
        self.zone[f"_dmarc.{domain}", "TXT"] = ['"v=DMARC1; p=reject; rua=mailto:reports@sender.example"']


_WORDS = ["".join(random.Random(number).choices("aeiourstlnmdpbkgh", k=3 + number % 8)) for number in range(3_000)]


def message(number: int, domain: str, size_bytes: int, *, spam: bool = False) -> tuple[bytes, bytes]:
    """(header, body) of a letter with words in it."""
    words = random.Random(number)
    pool = _WORDS[:2_000] if spam else _WORDS[1_000:]
    lines, length = [], 0
    while length < size_bytes - 400:
        line = " ".join(words.choices(pool, k=11)).encode()
        lines.append(line)
        length += len(line) + 2
    header = (
        f"From: Writer <writer@{domain}>\r\nTo: Reader <u2@bench.test>\r\nDate: {time.strftime('%a, %d %b %Y %H:%M:%S +0000', time.gmtime())}\r\n"
        f"Message-ID: <{number}.{time.monotonic_ns()}@{domain}>\r\nSubject: {' '.join(words.choices(pool, k=5))}\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    )
    return header.encode(), b"\r\n".join(lines) + b"\r\n"


def signed(world: World, header: bytes, body: bytes, domain: str) -> bytes:
    """With one RSA signature in front."""
    import dkim

    field: bytes = dkim.sign(
        header + b"\r\n" + body, b"s1", domain.encode(), world.private, canonicalize=(b"relaxed", b"relaxed"),
        include_headers=[b"from", b"to", b"date", b"message-id", b"subject", b"mime-version", b"content-type"],
    )  # fmt: skip
    return field + header + b"\r\n" + body


class Letter:
    """What one connection hands in."""

    def __init__(self, client: str, helo: str, sender: str, recipient: str, content: bytes) -> None:
        self.client, self.helo, self.sender, self.recipient, self.content = client, helo, sender, recipient, content

    def hand_in(self, port: int) -> bytes:
        """The last reply; RuntimeError when it is no 250, or a 4xx before."""
        with socket.create_connection(("127.0.0.1", port), 60) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(f"PROXY TCP4 {self.client} 127.0.0.1 40000 25\r\n".encode())
            talk(sock, b"", b"220")
            talk(sock, f"EHLO {self.helo}\r\n".encode(), b"250")
            talk(sock, f"MAIL FROM:<{self.sender}>\r\n".encode(), b"250")
            talk(sock, f"RCPT TO:<{self.recipient}>\r\n".encode(), b"250")
            talk(sock, b"DATA\r\n", b"354")
            reply = talk(sock, self.content + b".\r\n", b"250")
            talk(sock, b"QUIT\r\n", b"221")
        return reply


def talk(sock: socket.socket, line: bytes, want: bytes) -> bytes:
    """Say a line, wait for the whole reply."""
    if line:
        sock.sendall(line)
    data = b""
    while True:
        piece = sock.recv(4096)
        if not piece:
            raise ConnectionError("closed")
        data += piece
        if data.endswith(b"\r\n") and data[data.rfind(b"\n", 0, -1) + 1 :][3:4] == b" ":
            break
    if not data.startswith(want):
        raise RuntimeError(data)
    return data


def prepare(product: Product) -> None:
    """A classifier that has a say for everybody, and u2's script."""
    folder = product.dir / "lessons"
    for kind in ("spam", "ham"):
        (folder / kind).mkdir(parents=True)
        for number in range(150):
            header, body = message(
                number + (500 if kind == "spam" else 0), f"{kind}.example", 4_000, spam=kind == "spam"
            )
            (folder / kind / str(number)).write_bytes(header + b"\r\n" + body)
        product.run("junk", "train", kind, str(folder / kind))
        product.run("junk", "train", kind, "--account", "u2@bench.test", str(folder / kind))
    script = product.dir / "script.sieve"
    script.write_text(SCRIPT)
    product.run("sieve", "put", "u2@bench.test", "main", str(script), "--activate")


def become_known(port: int, letter: Letter) -> None:
    """Until the greylist knows the sender."""
    for _ in range(20):
        try:
            letter.hand_in(port)
        except RuntimeError as error:
            if not str(error.args[0]).startswith(("b'451", "b'450")):
                raise
            time.sleep(1.2)
        else:
            return
    raise RuntimeError("the greylist never lets the sender pass")


def run_all(port: int, letters: Sequence[Letter], concurrency: int) -> float:
    """Hand all in; seconds."""
    errors: list[str] = []

    def work(share: Sequence[Letter]) -> None:
        try:
            for letter in share:
                letter.hand_in(port)
        except Exception as error:  # noqa: BLE001 - raised by the caller
            errors.append(repr(error))

    threads = [threading.Thread(target=work, args=(letters[number::concurrency],)) for number in range(concurrency)]
    began = time.monotonic()
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if errors:
        raise RuntimeError(errors[0])
    return time.monotonic() - began


def rest(pids: Sequence[int]) -> float:
    """Wait until the server does nothing more; its CPU seconds."""
    before = memory.cpu_seconds(pids)
    while True:
        time.sleep(0.6)
        now = memory.cpu_seconds(pids)
        if now - before < 0.015:
            return now
        before = now


def measured(daemon: Product, letters: Sequence[Letter], concurrency: int) -> tuple[float, float]:
    """CPU seconds of the server until it rests again, and seconds until all were accepted."""
    before = rest(daemon.pids)
    seconds = run_all(daemon.ports["smtp"], letters, concurrency)
    return rest(daemon.pids) - before, seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--size", type=int, default=10_240)
    parser.add_argument("--concurrency", default="1,10")
    parser.add_argument("--mailbox", help="measure this executable instead of the source tree")
    parser.add_argument("--single", action="store_true")
    parser.add_argument("--keep-dns-cold", action="store_true")
    options = parser.parse_args()
    world = World(ttl=86_400)
    fresh = iter(range(1_000_000_000))

    def letters(whole: bool) -> Sequence[Letter]:
        made = []
        for _ in range(options.count):
            number = next(fresh)
            domain = f"d{number}.sender.example" if options.keep_dns_cold and whole else "sender.example"
            if domain != "sender.example":
                world.add(domain)
            header, body = message(number, domain, options.size)
            if whole:
                content = signed(world, header, body, domain)
                made.append(Letter(CLIENT, "mail.sender.example", f"writer@{domain}", "u2@bench.test", content))
            else:
                content = header + b"\r\n" + body
                made.append(Letter("127.0.0.1", "localhost", f"writer@{domain}", "u1@bench.test", content))
        return made

    config = CONFIG.replace('"unknown"', '"suspicious"') if options.keep_dns_cold else CONFIG
    words = ["--single"] if options.single else []
    rows: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        daemons = {
            kind: stack.enter_context(Product(2, options.mailbox, dns=world.server.address, more=each, words=words))
            for kind, each in (("plain", CONFIG + OFF), ("whole", config))
        }
        prepare(daemons["whole"])
        header, body = message(0, "sender.example", options.size)
        content = signed(world, header, body, "sender.example")
        known = Letter(CLIENT, "mail.sender.example", "writer@sender.example", "u2@bench.test", content)
        become_known(daemons["whole"].ports["smtp"], known)
        for concurrency in map(int, options.concurrency.split(",")):
            row = rows[f"c{concurrency}"] = {}
            for run in range(options.runs + 1):  # the first warms up
                for kind, daemon in daemons.items():
                    cpu, seconds = measured(daemon, letters(kind == "whole"), concurrency)
                    if run:
                        row.setdefault(f"{kind}_ms", []).append(round(cpu / options.count * 1000, 3))
                        row.setdefault(f"{kind}_per_s", []).append(round(options.count / seconds, 1))
                        print(f"c={concurrency} {kind} {row[f'{kind}_ms'][-1]} ms", file=sys.stderr, flush=True)
    report: dict[str, dict[str, object]] = {}
    for name, row in rows.items():
        found = {each: {"median": statistics.median(values), "min": min(values)} for each, values in row.items()}
        ratio = {each: round(found["whole_ms"][each] / found["plain_ms"][each], 3) for each in ("median", "min")}
        report[name] = {**found, "ratio": ratio}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
