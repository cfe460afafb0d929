"""The server's metrics, prefix `mailserver_`, shared between processes through memory-mapped files.

`share(directory, role)` is called once in each process before its `Metrics()` is made: from then on values live in
files named after the role, so a restarted front goes on counting where the killed one stopped, while its gauges start
at zero. One process reads all files at a scrape. Without `share` the values live in memory (tests, tools).
An increment costs 0.6 us shared and 0.3 us in memory; `labels()` adds 1 us, so hot paths keep the labelled child.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from mailbox_app.observe.mail_log import MailEvent

_KINDS = ("counter", "histogram", "gauge_livemax", "gauge_livesum")
"""The library's names for the files of the metrics below."""
_FILE_BYTES = 1 << 16
"""What the library begins a file with; ours never fill it."""
_DURATION_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 3600.0, 86_400.0)
"""Seconds from acceptance to the last hop: from local (milliseconds) to a day of retries."""


class Metrics:
    """All metrics of the server. Makes its own registry, so that many may live side by side."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter, gauge = self._counter, self._gauge
        self.messages_received = counter("messages_received", "Messages accepted from other servers.")
        self.messages_sent = counter("messages_sent", "Recipients delivered to other servers.")
        self.messages_rejected = counter("messages_rejected", "Messages or recipients refused.", "reason")
        self.messages_bounced = counter("messages_bounced", "Recipients that failed for good.")
        self.messages_queued = counter("messages_queued", "Messages taken into the queue.")
        self.messages_held = counter("messages_held", "Messages of our users held for an operator.", "reason")
        self.delivery_duration_seconds = Histogram(
            "mailserver_delivery_duration_seconds",
            "From acceptance to delivery.",
            registry=self.registry,
            buckets=_DURATION_BUCKETS,
        )
        self.delivery_retries = counter("delivery_retries", "Attempts that were put off.")
        self.breaker_opened = counter("breaker_opened", "Hosts passed over from then on: their connections failed.")
        self.breaker_closed = counter("breaker_closed", "Hosts in order again after they were passed over.")
        self.postponed = counter("delivery_postponed", "Deliveries not tried for now.", "reason")
        self.queue_depth = gauge("queue_depth", "Recipients in the queue.", mode="livesum")
        self.queue_recipients = gauge("queue_recipients", "Recipients in the queue by state.", "state", mode="livesum")
        self.queue_late = gauge("queue_late", "Recipients that are due and not tried for a minute.", mode="livesum")
        self.queue_oldest_seconds = gauge("queue_oldest_seconds", "Age of the oldest waiting message.", mode="livemax")
        self.active_connections = gauge("active_connections", "Open connections.", "protocol", mode="livesum")
        self.connections = counter("connections", "Connections made.", "protocol")
        self.auth_attempts = counter("auth_attempts", "Logins by result.", "result", "protocol")
        self.imap_commands = counter("imap_commands", "IMAP commands.", "command")
        self.pop3_commands = counter("pop3_commands", "POP3 commands.", "command")
        self.managesieve_commands = counter("managesieve_commands", "ManageSieve commands.", "command")
        self.dav_requests = counter("dav_requests", "CalDAV and CardDAV requests.")
        self.greylist_checks = counter("greylist_checks", "Greylist decisions.", "result")
        self.dns_list_answers = counter("dns_list_answers", "Questions to DNS block and allow lists.", "zone", "result")
        self.dns_list_off = gauge(
            "dns_list_off", "1 for a DNS list that is switched off because it answers wrong.", "zone", mode="livemax"
        )
        self.dmarc_report_messages = counter("dmarc_report_messages", "Messages counted for DMARC reports to others.")
        self.reports_sent = counter("reports_sent", "Reports to other domains.", "kind", "outcome")
        self.reports_received = counter("reports_received", "Reports of others that were read.", "kind", "outcome")
        self.filter_actions = counter("filter_actions", "What filters did with mail that came in.", "action")
        self.quota_exceeded = counter("quota_exceeded", "Messages refused for a full mailbox.")
        self.search_waiting = gauge(
            "search_waiting", "Messages that the search indexes do not have yet.", mode="livesum"
        )
        self.route_logins_refused = counter("route_logins_refused", "Logins that a smarthost did not take.", "route")
        self.uptime_seconds = gauge("uptime_seconds", "Since the daemon started.", mode="livemax")
        self.errors = counter("errors", "Unexpected errors; each has a log line.")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"mailserver_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str, mode: Literal["livesum", "livemax"]) -> Gauge:
        """`mode`: what several processes' values come to."""
        return Gauge(f"mailserver_{name}", text, labels, registry=self.registry, multiprocess_mode=mode)

    def redis_up(self) -> Gauge:
        """Made where nodes share a Redis, and only there: a figure that is 0 means trouble. Once in a process."""
        return self._gauge("redis_up", "1 while the Redis that nodes share answers.", mode="livemax")

    def count_mail(self, event: MailEvent) -> None:
        """A sink of the mail log: what came in, was refused, was taken into the queue."""
        match event.verb:
            case "accepted":
                self.messages_received.inc()
            case "rejected":
                self.messages_rejected.labels(event.reason or "other").inc()
            case "queued":
                self.messages_queued.inc()


def share(directory: Path, role: str) -> None:
    """From now on metrics made in this process live in the directory's files of this role; before `Metrics()`.

    The role must not hold `_`; one process at a time may have it. On a full disk the values stay in this process.
    """
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        for stale in directory.glob(f"gauge_*_{role}.db"):  # what a killed process held open is no more
            stale.unlink()
        for kind in _KINDS:
            _reserve(directory / f"{kind}_{role}.db")
    except OSError as error:
        structlog.get_logger("metrics").warning("metrics not shared", directory=str(directory), error=error.strerror)
        return
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)  # the library reads it whenever it opens a file
    values.ValueClass = values.MultiProcessValue(lambda: role)  # type: ignore[no-untyped-call]


def _reserve(path: Path) -> None:
    """The library makes sparse files: a page of one that finds no room later would end the process (SIGBUS)."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, _FILE_BYTES)
    finally:
        os.close(descriptor)


def clear_shared(directory: Path) -> None:
    """Forget an earlier daemon's values; before any process shares."""
    for old in directory.glob("*.db"):
        old.unlink()


def exposition(metrics: Metrics, directory: Path | None) -> bytes:
    """The text of /metrics: of all processes that share the directory; None: of this process."""
    if directory is None:
        return generate_latest(metrics.registry)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(directory))  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def gauge_text(name: str, text: str, label: str, values: Mapping[str, float]) -> bytes:
    """One gauge as /metrics tells it, made anew at each scrape: for labels that come and go. Nothing without values."""
    if not values:
        return b""
    registry = CollectorRegistry()
    family = GaugeMetricFamily(f"mailserver_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    registry.register(_Once(family))
    return generate_latest(registry)


class _Once(Collector):
    """One family, as it is."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        """For the registry."""
        return [self._family]


def total(metrics: Metrics, directory: Path | None, name: str) -> dict[str, float]:
    """The samples of one gauge or counter over all processes, by the value of its first label ("" without)."""
    registry = metrics.registry
    if directory is not None:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(directory))  # type: ignore[no-untyped-call]
    found: dict[str, float] = {}
    for family in registry.collect():
        for sample in family.samples:
            if sample.name == name:
                label = next(iter(sample.labels.values()), "")
                found[label] = found.get(label, 0.0) + sample.value
    return found
