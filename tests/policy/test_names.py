"""Host names: made from their address or given by somebody; and whose they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.policy.names import is_generic, is_host_name, is_same_owner, registered_domain


@pytest.mark.parametrize(
    ("name", "remote_ip"),
    [
        ("192-0-2-77.dyn.isp.example", "192.0.2.77"),
        ("77.2.0.192.isp.example", "192.0.2.77"),
        ("host77-2-0.isp.example", "192.0.2.77"),
        ("static.77.2.0.192.clients.hoster.example", "192.0.2.77"),
        ("ip192000002077.isp.example", "192.0.2.77"),
        ("pc-c000024d.isp.example", "192.0.2.77"),
        ("c000024d.isp.example", "192.0.2.77"),
        ("dsl-77.isp.example", "192.0.2.77"),
        ("dynamic77.pool.isp.example", "192.0.2.77"),
        ("p5DCB1234.dip0.isp.example", "192.0.2.77"),
        ("2001-db8-1-2-3-4-5-6.isp.example", "2001:db8:1:2:3:4:5:6"),
        ("node-0003000400050006.isp.example", "2001:db8:1:2:3:4:5:6"),
        ("192-0-2-77.dyn.isp.example", "::ffff:192.0.2.77"),
    ],
)
def test_names_made_from_their_address_or_of_a_pool(name: str, remote_ip: str) -> None:
    assert is_generic(name, remote_ip)


@pytest.mark.parametrize(
    ("name", "remote_ip"),
    [
        ("mail.example.org", "192.0.2.77"),
        ("mx2.example.org", "192.0.2.2"),
        ("out-77.mta02.example.org", "192.0.2.77"),
        ("mail-ej1-f77.provider.example", "209.85.218.77"),
        ("mail192.suw21.mailer.example", "198.2.177.192"),
        ("mail.dsl-reports.example", "192.0.2.77"),
        ("smtp.poolparty.example", "192.0.2.77"),
        ("dynamic.example", "192.0.2.77"),
        ("customer.example", "192.0.2.77"),
        ("mail.example.org", "2001:db8:1:2:3:4:5:6"),
        ("mail.example.org", "2001:db8::25"),
        ("mail.example.org", "not an address"),
    ],
)
def test_names_somebody_gave(name: str, remote_ip: str) -> None:
    assert not is_generic(name, remote_ip)


@given(st.text(max_size=300), st.ip_addresses().map(str))
def test_any_text_is_looked_at_in_peace(name: str, remote_ip: str) -> None:
    assert is_generic(name, remote_ip) in (True, False)
    assert is_host_name(name) in (True, False)
    assert len(registered_domain(name)) <= len(name.lower())


def test_whose_a_name_is() -> None:
    assert registered_domain("a.b.example.org.") == "example.org"
    assert registered_domain("mx.shop.co.uk") == "shop.co.uk"
    assert registered_domain("mx.example.de") == "example.de"
    assert registered_domain("localhost") == "localhost"
    assert registered_domain("co.uk") == "co.uk"
    assert is_same_owner("a.example.org", "b.example.org")
    assert not is_same_owner("a.co.uk", "b.co.uk")
    assert not is_same_owner("badexample.org", "example.org")
    assert not is_same_owner("uk", "example.uk")


@pytest.mark.parametrize("text", ["mail.example.org", "mail.example.org.", "a.b", "_x.example.org", "xn--a.xn--b"])
def test_full_host_names(text: str) -> None:
    assert is_host_name(text) is (len(text) > 3)


@pytest.mark.parametrize(
    "text", ["localhost", "", "mail example.org", "-a.example", "192.0.2.1", "a..b", "x" * 300 + ".org"]
)
def test_other_text(text: str) -> None:
    assert not is_host_name(text)
