"""A DNS server on loopback with a zone in a dictionary: for the demo, and for tests.

A zone maps (name, type) to presentation-form records: `{("example.org", "MX"): ["10 mx.example.org."]}`. Names that occur with
any type exist; all others are NXDOMAIN. It answers what it holds and follows CNAMEs; nothing is asked of anybody else.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping, Sequence

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

Zone = dict[tuple[str, str], list[str]]


class DnsServer:
    """A DNS server on 127.0.0.1, UDP and TCP on one port. Change `zone` at any time.

    `silent`: drops every question; `silent_names`: those for these names. `failing`: names answered SERVFAIL. `ttl` is on
    every record and in the SOA.
    """

    def __init__(self, zone: Mapping[tuple[str, str], Sequence[str]] | None = None, *, ttl: int = 300) -> None:
        self.zone: Zone = {key: list(records) for key, records in (zone or {}).items()}
        self.ttl = ttl
        self.silent = False
        self.silent_names: set[str] = set()
        self.failing: set[str] = set()
        self.authenticated = False
        self.asked: list[tuple[str, str]] = []
        self.asked_over_tcp = 0
        self.port = 0
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """For the configuration's `dns.servers`."""
        return f"127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> None:
        """Bind; port 0 takes one that is free for both UDP and TCP."""
        loop = asyncio.get_running_loop()
        for _ in range(20):
            self._tcp = await asyncio.start_server(self._serve_tcp, "127.0.0.1", port)
            self.port = int(self._tcp.sockets[0].getsockname()[1])
            try:
                self._udp, _ = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(self), local_addr=("127.0.0.1", self.port)
                )
            except OSError:
                self._tcp.close()
                if port:
                    raise
            else:
                return
        raise OSError("no port is free for both UDP and TCP")

    def close(self) -> None:
        """Stop answering."""
        if self._tcp is not None:
            self._tcp.close()
        if self._udp is not None:
            self._udp.close()

    async def __aenter__(self) -> DnsServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def answer(self, wire: bytes, limit_bytes: int | None) -> bytes | None:
        """The response to one question; cut to its head when it is longer than `limit_bytes` allows."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        if self.silent or not query.question:
            return None
        question = query.question[0]
        response = dns.message.make_response(query, recursion_available=True)
        name = question.name.to_text(omit_final_dot=True).lower()
        rdtype = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, rdtype))
        if name in self.silent_names:
            return None
        if name in self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
            return response.to_wire()
        if self.authenticated:
            response.flags |= dns.flags.AD
        self._fill(response, name, rdtype)
        try:
            return response.to_wire(max_size=min(limit_bytes, max(query.payload, 512)) if limit_bytes else 65_535)
        except dns.exception.TooBig:
            response.answer.clear()
            response.flags |= dns.flags.TC
            return response.to_wire()

    def _fill(self, response: dns.message.Message, name: str, rdtype: str) -> None:
        for _ in range(10):
            if records := self.zone.get((name, rdtype)):
                response.answer.append(self._rrset(name, rdtype, records))
                return
            alias = self.zone.get((name, "CNAME"))
            if alias is None:
                break
            response.answer.append(self._rrset(name, "CNAME", alias))
            name = alias[0].rstrip(".").lower()
        if not any(known == name for known, _ in self.zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        soa = f"ns.invalid. hostmaster.invalid. 1 3600 600 86400 {self.ttl}"
        response.authority.append(self._rrset(name.rpartition(".")[2] or ".", "SOA", [soa]))

    def _rrset(self, name: str, rdtype: str, records: Sequence[str]) -> dns.rrset.RRset:
        texts = [_quoted(record) if rdtype == "TXT" else record for record in records]
        return dns.rrset.from_text_list(dns.name.from_text(name), self.ttl, dns.rdataclass.IN, rdtype, texts)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                wire = await reader.readexactly(length)
                self.asked_over_tcp += 1
                if response := self.answer(wire, None):
                    writer.write(struct.pack("!H", len(response)) + response)
                    await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        response = self._server.answer(data, 1232)
        if response is not None and self._transport is not None:
            self._transport.sendto(response, addr)


def _quoted(text: str) -> str:
    """A TXT record's strings of at most 255 octets each."""
    if text.startswith('"'):
        return text
    escaped = [
        f"\\{octet:03d}" if octet < 32 or octet > 126 or octet in b'"\\' else chr(octet) for octet in text.encode()
    ]
    return " ".join('"' + "".join(escaped[at : at + 255]) + '"' for at in range(0, len(escaped) or 1, 255))
