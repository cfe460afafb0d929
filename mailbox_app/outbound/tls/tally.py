"""Counts TLS sessions for the daily reports: a listener of the transport."""

from __future__ import annotations

from mailbox_app.outbound.tls.witness import TlsSession
from mailbox_app.policy.state.tls_rows import SqliteTlsRows, TlsRow

_TEXT = 200


class TlsTally:
    """A `TlsWitness`; a look into memory per session."""

    def __init__(self, rows: SqliteTlsRows) -> None:
        self._rows = rows

    def saw(self, session: TlsSession) -> None:
        """Count it. What succeeded is told by policy alone, so that a domain with many addresses stays one row."""
        if session.domain.startswith("["):
            return
        failed = bool(session.result)
        self._rows.note(
            session.domain,
            TlsRow(
                str(session.policy_type),
                tuple(line[:_TEXT] for line in session.policy[:20]),
                session.mx_host if failed else "",
                session.address if failed else "",
                str(session.result),
                session.reason[:_TEXT] if failed else "",
            ),
        )
