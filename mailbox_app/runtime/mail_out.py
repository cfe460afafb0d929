"""Builds what takes mail out of the queue: the ways out, the transports, the runner, and what operators ask about them."""

from __future__ import annotations

from dataclasses import dataclass

from mailbox_app.config.schema import Config
from mailbox_app.delivery.local import LocalTransport
from mailbox_app.mailqueue.delay_notices import DelayNotices
from mailbox_app.mailqueue.delivery_marks import DeliveryMarks
from mailbox_app.mailqueue.destinations.breakers import Breakers
from mailbox_app.mailqueue.forgetting import Forgetting
from mailbox_app.mailqueue.opening import marks_folder
from mailbox_app.mailqueue.runner import QueueRunner
from mailbox_app.mailqueue.schedule import schedule_of
from mailbox_app.mailqueue.under_way import UnderWay
from mailbox_app.outbound.routes.desk import RouteDesk
from mailbox_app.outbound.routes.states import RouteStates
from mailbox_app.outbound.tls.desk import TlsDesk
from mailbox_app.outbound.tls.dnssec import Dnssec
from mailbox_app.outbound.tls.out import OutboundTls
from mailbox_app.outbound.tls.tally import TlsTally
from mailbox_app.outbound.transport import SmtpTransport
from mailbox_app.policy.state.tls_rows import SqliteTlsRows
from mailbox_app.runtime.delivery_flow import breakers, pace, passages
from mailbox_app.runtime.outbound_tls import outbound_tls
from mailbox_app.runtime.parts import Parts


@dataclass(frozen=True, slots=True)
class MailOut:
    """One per process that delivers."""

    runner: QueueRunner
    transport: SmtpTransport
    tls: OutboundTls
    breakers: Breakers
    desk: RouteDesk
    delays: DelayNotices
    under_way: UnderWay
    forgetting: Forgetting
    tls_desk: TlsDesk
    tls_rows: SqliteTlsRows
    """Sessions counted for reports; `sync` and `close` it."""

    def configure(self, new: Config) -> None:
        """Take a changed configuration: routes are decided at each attempt."""
        self.transport.configure(new.delivery, new.routes)


def build_mail_out(parts: Parts) -> MailOut:
    """Everything, not yet running."""
    config, under_way = parts.config, UnderWay()
    known, paced = breakers(parts), pace(parts)
    tls_rows = SqliteTlsRows(parts.data_dir / "reports.db", parts.clock)
    tls = outbound_tls(parts, [TlsTally(tls_rows)])
    outbound = SmtpTransport(
        parts.resolver,
        hostname=config.server.hostname,
        config=config.delivery,
        offload=parts.offload,
        clock=parts.clock,
        passages=passages(parts, known, paced),
        tls=tls,
        routes=config.routes,
        states=RouteStates(parts.clock, parts.metrics),
    )
    outbound.under_way = under_way
    outbound.marks = DeliveryMarks(marks_folder(config.queue, parts.data_dir))
    runner = QueueRunner(
        parts.queue,
        {"smtp": outbound, "local": LocalTransport(parts.inbound, parts.recipients, parts.metrics)},
        parts.bounces,
        offload=parts.offload,
        clock=parts.clock,
        bus=parts.bus,
        mail_log=parts.mail_log,
        metrics=parts.metrics,
        under_way=under_way,
        per_destination=config.delivery.connections,
        claim_counts=paced.claim_counts,
        schedule=lambda: schedule_of(parts.current.config.queue),
        marks=outbound.marks,
    )
    delays = DelayNotices(parts.queue, parts.bounces, parts.offload, parts.clock, parts.mail_log, parts.metrics)
    forgetting = Forgetting(parts.queue, lambda: parts.current.config.queue.history_days, parts.offload, parts.clock)
    tls_desk = TlsDesk(tls, outbound, Dnssec(parts.resolver), parts.offload, parts.clock)
    return MailOut(
        runner,
        outbound,
        tls,
        known,
        RouteDesk(outbound, parts.clock),
        delays,
        under_way,
        forgetting,
        tls_desk,
        tls_rows,
    )
