"""DKIM for our own reports: they have no envelope sender, so without a signature many receivers take them for forgeries.

A report is from mailer-daemon at the server's name; it is signed with the keys of the nearest of our domains at or above that
name, which DMARC takes as the same organization.
"""

from __future__ import annotations

import structlog

from mailbox_app.accounts.interface import Directory
from mailbox_app.accounts.model import DkimKey
from mailbox_app.clock import Clock
from mailbox_app.errors import MailboxError
from mailbox_app.mailauth.dkim_sign import DkimSigner, SigningKey
from mailbox_app.proto.header import header_end


class ReportSigner:
    """Signs what `Bounces` composes. Synchronous; safe from any thread."""

    def __init__(self, directory: Directory, signer: DkimSigner, hostname: str, clock: Clock) -> None:
        self._directory = directory
        self._signer = signer
        self._labels = hostname.rstrip(".").split(".")
        self._clock = clock
        self._log = structlog.get_logger("queue")

    def signed(self, report: bytes) -> bytes:
        """The report with its signatures; as it is without keys, or with one that is of no use: it must go out."""
        keys = [
            SigningKey(key.domain, key.selector, "rsa" if key.algorithm == "rsa" else "ed25519", key.private_pem)
            for key in self._keys()
        ]
        end = header_end(report)
        try:
            return self._signer.sign(keys, report[:end], report[end:], int(self._clock.epoch_seconds())) + report
        except MailboxError as error:
            self._log.error("report_not_signed", code=error.code)
            return report

    def _keys(self) -> list[DkimKey]:
        for start in range(len(self._labels)):
            if keys := [key for key in self._directory.dkim_keys(".".join(self._labels[start:])) if key.active]:
                return keys
        return []
