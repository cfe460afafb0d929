"""Builds the service by which mail comes in, and the reports about it; part of `wiring.py`."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from mailbox_app.accounts.sasl import Sasl
from mailbox_app.clock import Clock
from mailbox_app.delivery.containment import Containment
from mailbox_app.delivery.daily_reports import ReportTools
from mailbox_app.delivery.dmarc_reporting import DmarcReporter
from mailbox_app.delivery.dmarc_tally import DmarcTally, Sinks
from mailbox_app.delivery.explaining import Explainer
from mailbox_app.delivery.rejects import Rejects
from mailbox_app.delivery.report_reading import ReportReader
from mailbox_app.delivery.sent_copies import SentCopies
from mailbox_app.delivery.submission import Submission
from mailbox_app.delivery.tls_reporting import TlsReporter
from mailbox_app.journal.audit import Audit, Change
from mailbox_app.journal.received_reports import ReceivedReports
from mailbox_app.mailauth.checks import SenderChecks
from mailbox_app.mailauth.dkim_sign import DkimSigner
from mailbox_app.policy.door import Door
from mailbox_app.policy.state.tls_rows import SqliteTlsRows
from mailbox_app.runtime.parts import Parts
from mailbox_app.runtime.reporting import Reporting
from mailbox_app.services.smtp.server import SmtpDependencies, SmtpService


def smtp_service(parts: Parts, sasl: Sasl) -> SmtpService:
    """SMTP's sessions: other servers, our users, LMTP."""
    config, hostname = parts.config, parts.config.server.hostname
    tools = parts.tools()
    return SmtpService(
        SmtpDependencies(
            config=config,
            directory=parts.directory,
            sasl=sasl,
            recipients=parts.recipients,
            inbound=parts.inbound,
            submission=Submission(
                parts.directory,
                parts.inbound,
                DkimSigner(),
                parts.offload,
                parts.clock,
                hostname=hostname,
                correspondents=parts.state.state.correspondents,
                containment=_containment(parts),
                sent=SentCopies(
                    parts.store, parts.offload, parts.clock, lambda: parts.current.config.submission.save_sent
                ),
            ),
            sender_checks=SenderChecks(
                parts.resolver,
                parts.offload,
                hostname,
                check_private_clients=config.delivery.allow_private_addresses,
                trusted_sealers=lambda: tools.config().policy.trusted_sealers,
            ),
            tls=parts.tls,
            rejects=Rejects(parts.store, parts.offload, parts.clock, lambda: parts.current.config),
            offload=parts.offload,
            clock=parts.clock,
            metrics=parts.metrics,
            mail_log=parts.mail_log,
            tmp_dir=parts.data_dir / "tmp",
            door=Door.build(tools, parts.gate),
            sink=Sinks(
                Explainer(parts.decisions, parts.clock),
                DmarcTally(tools.state.dmarc_rows, parts.directory, parts.current, parts.metrics),
            ),
        )
    )


def _containment(parts: Parts) -> Containment:
    state = parts.state.state
    audit = _SeldomAudit(parts.data_dir / "journal.db", parts.clock)
    return Containment(
        state.rates,
        state.correspondents,
        parts.queue,
        audit,
        parts.offload,
        parts.metrics,
        lambda: parts.current.config.abuse,
        parts.gate.is_exempt,
    )


class _SeldomAudit:
    """A front has nothing to say in the audit but that it braked an account: no file is kept open for that."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def append(self, change: Change) -> None:
        audit = Audit(self._path, self._clock)
        try:
            audit.append(change)
        finally:
            audit.close()


def reporting(parts: Parts, received: ReceivedReports, tls_rows: SqliteTlsRows) -> Reporting:
    """The core's job for reports: ours to others, and those of others."""
    tools = ReportTools(
        parts.queue,
        parts.spool,
        parts.directory,
        parts.resolver,
        parts.offload,
        parts.clock,
        parts.metrics,
        parts.current,
    )
    reporter = DmarcReporter(parts.state.state.dmarc_rows, tools, version=version("mailbox"))
    tls_reporter = TlsReporter(tls_rows, tools)
    reader = ReportReader(parts.store, received, parts.directory, parts.clock, parts.metrics, parts.current)
    return Reporting(
        [reporter.send_due, tls_reporter.send_due],
        reader.accounts,
        reader.catch_up,
        reader.purge,
        parts.config.server.hostname,
        parts.bus,
        parts.offload,
        parts.clock,
        parts.metrics,
    )
