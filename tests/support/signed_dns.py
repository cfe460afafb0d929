"""An unbound of its own with a signed root: the whole pretend internet is one zone that really validates."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import dns.dnssec
import dns.name
import dns.query
import dns.rdatatype
import dns.zone
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from dns.dnssectypes import Algorithm
from dns.message import make_query
from dns.transaction import Transaction

from tests.support.daemon import eventually

UNBOUND = shutil.which("unbound", path="/usr/sbin:/usr/bin") or ""
needs_unbound = pytest.mark.skipif(not UNBOUND, reason="unbound is not installed")
_CONFIG = """server:
  interface: 127.0.0.1@{port}
  directory: "{folder}"
  username: ""
  chroot: ""
  pidfile: ""
  do-daemonize: no
  use-syslog: no
  num-threads: 1
  do-not-query-localhost: no
  trust-anchor-file: "{folder}/anchor"
  module-config: "{modules}"
remote-control:
  control-enable: no
auth-zone:
  name: "."
  zonefile: "{folder}/zone"
  for-downstream: no
  for-upstream: yes
  fallback-enabled: no
"""


@contextlib.contextmanager
def unbound(
    folder: Path,
    records: Mapping[tuple[str, str], Sequence[str]],
    *,
    forged: Collection[tuple[str, str]] = (),
    validating: bool = True,
) -> Iterator[str]:
    """Its "address:port". `forged`: records whose signature does not fit them, as if somebody had changed them."""
    folder.mkdir(parents=True, exist_ok=True)
    zone, anchor = _signed(records)
    for name, rdtype in forged:
        _forge(zone, name, rdtype)
    zone.to_file(str(folder / "zone"), relativize=False)
    (folder / "anchor").write_text(anchor)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    modules = "validator iterator" if validating else "iterator"
    (folder / "unbound.conf").write_text(_CONFIG.format(port=port, folder=folder, modules=modules))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([UNBOUND, "-d", "-c", folder / "unbound.conf"], stdout=log, stderr=log)
    try:

        def answers() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            with contextlib.suppress(OSError, dns.exception.DNSException):
                return bool(dns.query.udp(make_query(".", "NS"), "127.0.0.1", 0.5, port).answer)
            return False

        eventually("unbound answers", answers)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _signed(records: Mapping[tuple[str, str], Sequence[str]]) -> tuple[dns.zone.Zone, str]:
    """The root zone, and what says that it is the true one."""
    lines = [". 300 IN SOA ns. root. 1 3600 600 86400 60", ". 300 IN NS ns.", "ns. 300 IN A 127.0.0.1"]
    for (name, rdtype), texts in records.items():
        lines += [f"{name}. 300 IN {rdtype} {text}" for text in texts]
    zone = dns.zone.from_text("\n".join(lines) + "\n", dns.name.root, relativize=False)
    private = ec.generate_private_key(ec.SECP256R1())
    key = dns.dnssec.make_dnskey(private.public_key(), Algorithm.ECDSAP256SHA256, flags=257)
    with zone.writer() as writer:
        _sign(zone, writer, private, key)
    return zone, f". IN DNSKEY {key.to_text()}\n"


def _sign(zone: dns.zone.Zone, writer: Transaction, private: ec.EllipticCurvePrivateKey, key: object) -> None:
    dns.dnssec.sign_zone(
        zone,
        writer,
        keys=[(private, key)],  # type: ignore[list-item]
        lifetime=int(timedelta(days=2).total_seconds()),
    )


def _forge(zone: dns.zone.Zone, name: str, rdtype: str) -> None:
    """Give the records another signature: the one of the root's name servers."""
    node = zone[dns.name.from_text(name)]
    other = zone[dns.name.root].get_rdataset(dns.rdataclass.IN, dns.rdatatype.RRSIG, dns.rdatatype.NS)
    assert other is not None
    kept = node.get_rdataset(dns.rdataclass.IN, dns.rdatatype.RRSIG, dns.rdatatype.from_text(rdtype))
    assert kept is not None
    true, wrong = kept[0], other[0]
    kept.clear()
    kept.add(true.replace(signature=wrong.signature))
