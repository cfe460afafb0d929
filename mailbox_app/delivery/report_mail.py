"""The message that carries a report: what RFC 9990 3.5.2 and RFC 8460 5.3 ask of subject, parts and file name. Composing only."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mailbox_app.proto.dates import format_date


@dataclass(frozen=True, slots=True)
class ReportMail:
    """What goes into one."""

    sender: str
    recipient: str
    domain: str
    """Whom it is about."""
    submitter: str
    report_id: str
    message_id: str
    text: str
    """For people; ASCII."""
    file_name: str
    content: bytes
    """The packed report."""
    kind: Literal["dmarc", "tlsrpt"] = "dmarc"


def compose(mail: ReportMail, now: datetime) -> bytes:
    """The whole message, ASCII."""
    boundary = f"=_{mail.report_id}"
    is_tls = mail.kind == "tlsrpt"
    form = 'multipart/report; report-type="tlsrpt";' if is_tls else "multipart/mixed;"
    lines = [
        f"From: <{mail.sender}>",
        f"To: <{mail.recipient}>",
        f"Subject: Report Domain: {mail.domain}",
        f"\tSubmitter: {mail.submitter}",
        f"\tReport-ID: <{mail.report_id}>",
        f"Date: {format_date(now).decode()}",
        f"Message-ID: {mail.message_id}",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        # RFC 8460 5.3: so that the report is known for what it is before anybody looks inside
        *([f"TLS-Report-Domain: {mail.domain}", f"TLS-Report-Submitter: {mail.submitter}"] if is_tls else []),
        f"Content-Type: {form}",
        f'\tboundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "Content-Transfer-Encoding: 7bit",
        "",
        *mail.text.splitlines(),
        f"--{boundary}",
        f"Content-Type: application/{'tlsrpt+gzip' if is_tls else 'gzip'};",
        f'\tname="{mail.file_name}"',
        "Content-Transfer-Encoding: base64",
        "Content-Disposition: attachment;",
        f'\tfilename="{mail.file_name}"',
        "",
        base64.encodebytes(mail.content).decode().replace("\n", "\r\n").rstrip("\r\n"),
        f"--{boundary}--",
        "",
    ]
    return "\r\n".join(lines).encode("ascii")
