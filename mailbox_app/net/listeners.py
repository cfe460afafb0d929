"""Binds the configured addresses: one listening socket per (address, process) with SO_REUSEPORT.

Each front has its own socket, so the kernel spreads connections evenly, and the supervisor keeps all of them open, so
what waits in the socket of a killed front is served by its successor. Port 0 is resolved once for all fronts. A failure
is a `ConfigError` that says what to do.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mailbox_app.errors import ConfigError
from mailbox_app.net import unix_socket

_BACKLOG = 1024
_UNIX = "unix:"
_NOT_PERMITTED = frozenset({errno.EACCES, errno.EPERM})


@dataclass(frozen=True, slots=True)
class Listener:
    """One bound address of a service."""

    service: str
    address: str
    port: int
    sockets: tuple[socket.socket, ...]
    """One per process that serves it, in their order."""


def bind_all(service: str, addresses: Sequence[str], processes: int, *, unix_mode: int = 0o660) -> Sequence[Listener]:
    """Bind every "address:port" or "unix:/path" of a service for that many processes; all or nothing."""
    bound: list[Listener] = []
    try:
        for text in addresses:
            if text.startswith(_UNIX):
                bound.append(_bind_unix(service, Path(text.removeprefix(_UNIX)), processes, unix_mode))
                continue
            host, _, port = text.rpartition(":")
            bound.extend(_bind(service, host.strip("[]"), int(port), processes))
    except BaseException:
        close_all(bound)
        raise
    return bound


def close_all(listeners: Sequence[Listener]) -> None:
    """Close every socket."""
    for listener in listeners:
        for each in listener.sockets:
            each.close()


def _bind_unix(service: str, path: Path, processes: int, mode: int) -> Listener:
    """One socket that all processes share: a path has no SO_REUSEPORT."""
    try:
        if path.exists() and not path.is_socket():
            raise ConfigError("listen.failed", f"{service} cannot listen on {path}: something else is there")
        listener = unix_socket.listen(path, mode=mode, backlog=_BACKLOG)
    except OSError as error:
        code = "listen.not_permitted" if error.errno in _NOT_PERMITTED else "listen.failed"
        raise ConfigError(code, f"{service} cannot listen on {path}: {error.strerror}") from error
    return Listener(service, f"{_UNIX}{path}", 0, (listener,) * processes)


def _bind(service: str, host: str, port: int, processes: int) -> Sequence[Listener]:
    try:
        if host == "*":
            return _bind_any(service, port, processes)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        places = dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found)
        return [_bind_one(service, family, address, port, processes) for family, address in places]
    except OSError as error:
        code = "listen.not_permitted" if error.errno in _NOT_PERMITTED else "listen.failed"
        raise ConfigError(code, f"{service} cannot listen on {host}:{port}: {_reason(error, port)}") from error


def _bind_any(service: str, port: int, processes: int) -> Sequence[Listener]:
    """Both families, each with its own socket: with one for both, IPv4 clients would appear as ::ffff:192.0.2.1."""
    first = _bind_one(service, socket.AF_INET, "0.0.0.0", port, processes)  # noqa: S104 - that is what * asks for
    if not socket.has_dualstack_ipv6():
        return [first]
    try:
        return [first, _bind_one(service, socket.AF_INET6, "::", first.port, processes)]
    except OSError as error:
        if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:  # IPv6 is compiled in but switched off
            return [first]
        close_all([first])
        raise


def _bind_one(service: str, family: socket.AddressFamily, address: str, port: int, processes: int) -> Listener:
    if port:
        # With SO_REUSEPORT a second server of the same user would silently share the port; this one would not.
        _socket(family, address, port, shared=False).close()
    sockets: list[socket.socket] = []
    try:
        for _ in range(processes):
            each = _socket(family, address, port, shared=True)
            sockets.append(each)
            port = each.getsockname()[1]
            each.listen(_BACKLOG)
    except BaseException:
        for each in sockets:
            each.close()
        raise
    return Listener(service, address, port, tuple(sockets))


def _socket(family: socket.AddressFamily, address: str, port: int, *, shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, port))
    except BaseException:
        made.close()
        raise
    return made


def _reason(error: OSError, port: int) -> str:
    if error.errno in _NOT_PERMITTED:
        return f"port {port} needs root or CAP_NET_BIND_SERVICE; or choose a port from {_first_free_port()} on"
    if error.errno == errno.EADDRINUSE:
        return "another program has this port; stop it or choose another port"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have this address"
    if isinstance(error, socket.gaierror):
        return "this name has no address"
    return os.strerror(error.errno) if error.errno else str(error)


def _first_free_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except (OSError, ValueError):
        return 1024
