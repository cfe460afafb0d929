"""Addresses are bound once per process, share one port, and a failure says what to do."""

from __future__ import annotations

import socket

import pytest

from mailbox_app.errors import ConfigError
from mailbox_app.net.listeners import bind_all, close_all


def test_port_zero_is_the_same_port_for_all_processes() -> None:
    (listener,) = bind_all("smtp", ["127.0.0.1:0"], 3)
    assert {each.getsockname() for each in listener.sockets} == {("127.0.0.1", listener.port)}
    assert listener.port
    close_all([listener])


def test_a_star_takes_both_families_on_one_port_and_shows_clients_plainly() -> None:
    listeners = bind_all("smtp", ["*:0"], 1)
    assert len({each.port for each in listeners}) == 1
    for listener, host in zip(listeners, ("127.0.0.1", "::1"), strict=False):
        with socket.create_connection((host, listener.port), 5):
            listener.sockets[0].setblocking(True)
            accepted, (address, *_) = listener.sockets[0].accept()
            accepted.close()
            assert address == host
    close_all(listeners)


def test_a_port_in_use_is_refused_even_by_a_sharing_server() -> None:
    first = bind_all("smtp", ["127.0.0.1:0"], 2)
    with pytest.raises(ConfigError, match="another program has this port"):
        bind_all("imap", [f"127.0.0.1:{first[0].port}"], 2)
    close_all(first)


@pytest.mark.parametrize(("address", "text"), [("192.0.2.77:0", "does not have this address")])
def test_an_impossible_address_is_told(address: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        bind_all("smtp", [address], 1)


def test_one_failure_releases_all() -> None:
    (probe,) = bind_all("smtp", ["127.0.0.1:0"], 1)
    close_all([probe])
    with pytest.raises(ConfigError):
        bind_all("smtp", [f"127.0.0.1:{probe.port}", "192.0.2.77:0"], 1)
    close_all(bind_all("smtp", [f"127.0.0.1:{probe.port}"], 1))
