"""Hands a message to the running server over the socket for this machine's programs.

All or nothing: when a recipient is refused, nobody has the message. Exit codes are those of sysexits, which programs
that call `sendmail` go by: 75 means that they should keep the message and try again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mailbox_app.cli.sendmail_message import Outgoing
from mailbox_app.cli.sendmail_options import Options
from mailbox_app.errors import MailboxError
from mailbox_app.net import unix_socket
from mailbox_app.proto.plain_text import clean
from mailbox_app.proto.smtp.commands import encode_xtext
from mailbox_app.proto.smtp.dot_stream import stuff

EX_USAGE, EX_DATAERR, EX_NOUSER, EX_UNAVAILABLE, EX_TEMPFAIL, EX_NOPERM = 64, 65, 67, 69, 75, 77
_SECONDS = 300.0
_LINE_BYTES = 12_288
_LINES = 100
_RECIPIENTS = 100
"""In one transaction where the server does not say more. RFC 5321 4.5.3.1.8"""


class NotSent(MailboxError):
    """Nothing was sent (or not all: the text says so); `status` is the exit code."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__("sendmail.not_sent", text, temporary=status == EX_TEMPFAIL)
        self.status = status


class LocalSmtp:
    """One session."""

    def __init__(self, path: Path) -> None:
        try:
            self._socket = unix_socket.connect(path, timeout_seconds=_SECONDS)
        except PermissionError as error:
            raise NotSent(EX_NOPERM, f"you may not use {path}") from error
        except OSError as error:
            text = f"the mail server does not answer at {path}; nothing was sent, try again when it runs"
            raise NotSent(EX_TEMPFAIL, text) from error
        self._file = self._socket.makefile("rb")
        self._check(*self._reply())
        code, text = self._say("EHLO localhost")
        self._check(code, text)
        self._words = {line.partition(" ")[0].upper(): line.partition(" ")[2] for line in text.split("\n")[1:]}

    @property
    def address(self) -> str:
        """That this Unix user sends as."""
        return self._words.get("XLOCAL", "")

    @property
    def size_limit(self) -> int:
        """Bytes that a message may have."""
        size = self._words.get("SIZE", "")
        return int(size) if size.isdigit() else 26_214_400

    def send(self, outgoing: Outgoing, options: Options) -> str:
        """Send to all recipients; the server's last answer."""
        sent, answer = 0, ""
        limits = dict(word.partition("=")[::2] for word in self._words.get("LIMITS", "").split())
        most = int(limits["RCPTMAX"]) if limits.get("RCPTMAX", "").isdigit() else _RECIPIENTS
        for start in range(0, len(outgoing.recipients), max(most, 1)):
            part = outgoing.recipients[start : start + most]
            try:
                answer = self._transaction(outgoing, part, options)
            except NotSent as error:
                if not sent:
                    raise
                raise NotSent(
                    error.status, f"{error.public_text}; the first {sent} recipients have the message"
                ) from error
            sent += len(part)
        self._socket.sendall(b"QUIT\r\n")
        return answer

    def close(self) -> None:
        """Leave."""
        self._file.close()
        self._socket.close()

    def _transaction(self, outgoing: Outgoing, recipients: Sequence[str], options: Options) -> str:
        everything = [outgoing.sender, *recipients]
        line = f"MAIL FROM:<{outgoing.sender}> SIZE={len(outgoing.content)}"
        line += "" if outgoing.content.isascii() else " BODY=8BITMIME"
        line += "" if all(map(str.isascii, everything)) else " SMTPUTF8"
        line += f" RET={options.ret}" if options.ret else ""
        line += f" ENVID={encode_xtext(options.envid)}" if options.envid else ""
        self._check(*self._say(line))
        for recipient in recipients:
            code, text = self._say(f"RCPT TO:<{recipient}>" + (f" NOTIFY={options.notify}" if options.notify else ""))
            if code // 100 != 2:
                raise NotSent(_status(code, text), f"{recipient}: {_told(text)}; nothing was sent")
        code, text = self._say("DATA")
        if code != 354:
            raise NotSent(_status(code, text), f"{_told(text)}; nothing was sent")
        try:
            self._socket.sendall(stuff(outgoing.content))
        except OSError as error:
            raise NotSent(EX_TEMPFAIL, "the mail server went away; nothing was sent") from error
        code, text = self._reply()
        self._check(code, text)
        return text

    def _say(self, line: str) -> tuple[int, str]:
        if any(each in line for each in "\r\n\0"):
            raise NotSent(EX_USAGE, "an address holds a line end")
        try:
            self._socket.sendall(line.encode("utf-8", "surrogateescape") + b"\r\n")
        except OSError as error:
            raise NotSent(EX_TEMPFAIL, "the mail server went away; nothing was sent") from error
        return self._reply()

    def _reply(self) -> tuple[int, str]:
        lines: list[str] = []
        while len(lines) < _LINES:
            try:
                line = self._file.readline(_LINE_BYTES)
            except TimeoutError as error:
                raise NotSent(EX_TEMPFAIL, "the mail server did not answer in time") from error
            except OSError as error:
                raise NotSent(EX_TEMPFAIL, "the mail server went away") from error
            if not line.endswith(b"\n") or not line[:3].isdigit():
                raise NotSent(EX_TEMPFAIL, "the mail server went away before it answered")
            lines.append(line[4:].decode("utf-8", "replace").rstrip("\r\n"))
            if line[3:4] != b"-":
                return int(line[:3]), "\n".join(lines)
        raise NotSent(EX_TEMPFAIL, "the mail server's answer has no end")

    def _check(self, code: int, text: str) -> None:
        if code // 100 != 2:
            raise NotSent(_status(code, text), f"{_told(text)}; nothing was sent")


def _told(text: str) -> str:
    """An answer in words, without its enhanced code."""
    line = clean(text.split("\n")[-1])
    code, _, words = line.partition(" ")
    return words if code.replace(".", "").isdigit() else line


def _status(code: int, text: str) -> int:
    """The exit code that stands for a refusal."""
    enhanced = text.partition(" ")[0]
    if code // 100 == 4:
        return EX_TEMPFAIL
    if enhanced in ("5.1.1", "5.1.2", "5.1.3", "5.2.1"):
        return EX_NOUSER
    if enhanced.startswith("5.7."):
        return EX_NOPERM
    if enhanced.startswith(("5.3.4", "5.2.3", "5.6.")):
        return EX_DATAERR
    return EX_UNAVAILABLE
