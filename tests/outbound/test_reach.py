from __future__ import annotations

from mailbox_app.outbound.reach import Reach
from tests.support.clock import FakeClock


def test_a_dead_address_goes_last_for_some_minutes() -> None:
    clock = FakeClock()
    reach = Reach(clock, 25)
    reach.failed("192.0.2.1", 25, timed_out=False)
    assert reach.ordered(["192.0.2.1", "192.0.2.2"]) == ["192.0.2.2", "192.0.2.1"]
    clock.skip(601)
    assert reach.ordered(["192.0.2.1", "192.0.2.2"]) == ["192.0.2.1", "192.0.2.2"]
    reach.failed("192.0.2.1", 25, timed_out=False)
    reach.connected("192.0.2.1", 25)
    assert not reach.is_dead("192.0.2.1")


def test_a_family_that_leads_nowhere_goes_last_as_a_whole() -> None:
    clock = FakeClock()
    reach = Reach(clock, 25)
    for number in (1, 2, 3):
        reach.failed(f"2001:db8::{number}", 25, timed_out=True)
    assert reach.ordered(["2001:db8::9", "192.0.2.1"]) == ["192.0.2.1", "2001:db8::9"]
    reach.connected("2001:db8::9", 25)
    assert reach.ordered(["2001:db8::9", "192.0.2.1"]) == ["2001:db8::9", "192.0.2.1"]


def test_port_25_is_called_blocked_when_many_networks_are_silent_and_none_answered() -> None:
    clock = FakeClock()
    reach = Reach(clock, 25)
    for number in (1, 2, 3):
        reach.failed(f"192.0.{number}.1", 25, timed_out=True)
        reach.failed(f"192.0.{number}.2", 25, timed_out=True)
        reach.failed(f"198.51.{number}.1", 587, timed_out=True)
    assert reach.port_25_trouble() == ""
    reach.failed("192.0.4.1", 25, timed_out=False)
    assert reach.port_25_trouble() == "", "who refuses is reached"
    reach.failed("192.0.5.1", 25, timed_out=True)
    assert reach.port_25_trouble().startswith("port 25 seems to be blocked by this network")
    reach.connected("192.0.5.1", 25)
    assert reach.port_25_trouble() == ""


def test_what_is_remembered_is_bounded() -> None:
    reach = Reach(FakeClock(), 25)
    for number in range(10_010):
        reach.failed(f"10.{number // 65536}.{number // 256 % 256}.{number % 256}", 25, timed_out=True)
    assert not reach._dead.keys() & {"10.0.0.0"}
    assert len(reach._dead) == 10_000
