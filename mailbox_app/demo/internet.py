"""The outside world of the demo, on loopback: a DNS zone and remote mail servers, in a thread of their own.

friend.example signs and publishes SPF and DKIM, and knows only bob; grey.example answers 451 to whom it meets first;
slow.example takes its time. All mail servers listen on one port of different loopback addresses.
"""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.request
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

import dkim

from mailbox_app.accounts.dkim_keys import key_pair
from mailbox_app.clock import SystemClock
from mailbox_app.demo.dns_server import DnsServer
from mailbox_app.demo.remote_server import RemoteServer, Script
from mailbox_app.mailauth.canonical import CanonicalHeader
from mailbox_app.mailauth.dkim_sign import DkimSigner, SigningKey
from mailbox_app.mailauth.dkim_verify import Signature, hash_body, read_signatures, verify
from mailbox_app.mailauth.results import Result
from mailbox_app.proto.dates import format_date
from mailbox_app.proto.header import Header

T = TypeVar("T")

FRIEND_ADDRESS = "127.0.0.3"
GREY_ADDRESS = "127.0.0.4"
SLOW_ADDRESS = "127.0.0.5"
STRANGER_ADDRESS = "203.0.113.66"
"""Has no name and no domain..."""
FORGER_ADDRESS = "203.0.113.67"
"""... while this one has both, and writes in a bank's name."""
SLOW_SECONDS = 0.3
"""Before each of its answers."""


class Internet:
    """Starts on __enter__, stops on __exit__; its methods may be called from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="internet", daemon=True)
        private_pem, public_txt = key_pair("ed25519")
        self._key = SigningKey("friend.example", "demo", "ed25519", private_pem)
        self._dns = DnsServer(_zone(public_txt))
        self._servers: list[RemoteServer] = []
        self.port = 0

    @property
    def dns_address(self) -> str:
        """For the configuration's `dns.servers`."""
        return self._dns.address

    def __enter__(self) -> Internet:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def publish(self, name: str, rdtype: str, value: str) -> None:
        """Put a record into the zone."""
        self._dns.zone.setdefault((name.lower(), rdtype), []).append(value)

    def received(self, address: str) -> list[bytes]:
        """The messages that a remote server has taken for an address."""
        messages = [message for server in self._servers for message in server.messages]
        return [message.content for message in messages if address in message.recipients]

    def signed_greeting(self, recipient: str) -> bytes:
        """A message from bob@friend.example with his server's DKIM signature."""
        now = datetime.now(UTC)
        header = (
            b"From: Bob <bob@friend.example>\r\nTo: <%b>\r\nSubject: Lunch?\r\nDate: %b\r\nMessage-ID: <%d@friend.example>\r\n\r\n"
            % (recipient.encode(), format_date(now), time.time_ns())
        )
        body = b"Tomorrow at noon?\r\n"
        return DkimSigner().sign([self._key], header, body, int(now.timestamp())) + header + body

    def verify_signatures(self, message: bytes) -> dict[str, bool]:
        """Each DKIM signature of a message, by algorithm and selector, checked against the zone: RSA by dkimpy, which is not ours.

        For Ed25519 dkimpy wants one library more; that is checked by our own reader.
        """
        head, _, body = message.partition(b"\r\n\r\n")
        header = Header.parse(head + b"\r\n\r\n")
        theirs, fields = dkim.DKIM(message), CanonicalHeader(header)
        results = {}
        for index, each in enumerate(read_signatures(header)):
            draft = each.draft if isinstance(each, Signature) else each
            if not isinstance(each, Signature):
                passed = False
            elif draft.algorithm == "ed25519-sha256":
                records = self._dns.zone.get((each.key_name, "TXT"), [])
                passed = verify(each, fields, records, hash_body(body, [each.form])).result is Result.PASS
            else:
                passed = theirs.verify(index, dnsfunc=self._txt)
            results[f"a={draft.algorithm} s={draft.selector} d={draft.domain}"] = passed
        return results

    def get(self, port: int, path: str) -> str:
        """A page of the appliance's metrics listener."""
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return str(response.read().decode())

    def _txt(self, name: bytes, timeout: int = 5) -> bytes:
        del timeout
        records = self._dns.zone.get((name.decode().rstrip(".").lower(), "TXT"), [""])
        return records[0].encode()

    async def _start(self) -> None:
        await self._dns.start()
        clock = SystemClock()
        unknown = {"nobody@friend.example": b"550 5.1.1 <nobody@friend.example>: no such user"}
        friend = RemoteServer(Script("mx.friend.example", b"220 mx.friend.example ready", rcpt=unknown), clock)
        grey = RemoteServer(Script("mx.grey.example", b"220 mx.grey.example ready", greylist=True), clock)
        slow = RemoteServer(Script("mx.slow.example", b"220 mx.slow.example, slowly", slow_seconds=SLOW_SECONDS), clock)
        self._servers = [friend, grey, slow]
        for server, address in zip(self._servers, (FRIEND_ADDRESS, GREY_ADDRESS, SLOW_ADDRESS), strict=True):
            await server.start(self.port, (address,))
            self.port = server.port

    async def _stop(self) -> None:
        for server in self._servers:
            await server.close()
        self._dns.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)


def _zone(public_txt: str) -> dict[tuple[str, str], list[str]]:
    zone = {
        ("friend.example", "TXT"): [f"v=spf1 ip4:{FRIEND_ADDRESS} -all"],
        ("_dmarc.friend.example", "TXT"): ["v=DMARC1; p=reject"],
        ("demo._domainkey.friend.example", "TXT"): [public_txt],
        ("_dmarc.bank.example", "TXT"): ["v=DMARC1; p=reject"],
        ("cheap.example", "TXT"): [f"v=spf1 ip4:{FORGER_ADDRESS} -all"],
        ("mail.cheap.example", "A"): [FORGER_ADDRESS],
        (".".join(reversed(FORGER_ADDRESS.split("."))) + ".in-addr.arpa", "PTR"): ["mail.cheap.example."],
    }
    for name, address in (("friend", FRIEND_ADDRESS), ("grey", GREY_ADDRESS), ("slow", SLOW_ADDRESS)):
        zone[(f"{name}.example", "MX")] = [f"10 mx.{name}.example."]
        zone[(f"mx.{name}.example", "A")] = [address]
    return zone
