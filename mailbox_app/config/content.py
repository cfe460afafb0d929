"""Sections of the configuration about what messages hold; `schema.py` puts them into the whole."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from mailbox_app.config.section import Section

# fmt: off
DANGEROUS_TYPES = (
    "ade", "adp", "apk", "appx", "appxbundle", "bat", "cab", "chm", "cmd", "com", "cpl", "diagcab", "dll", "dmg",
    "exe", "gadget", "hta", "img", "ins", "iso", "isp", "jar", "jnlp", "js", "jse", "lib", "lnk", "mde", "msc",
    "msi", "msix", "msixbundle", "msp", "mst", "nsh", "one", "onepkg", "pif", "ps1", "reg", "scf", "scr", "sct",
    "shb", "svg", "sys", "url", "vb", "vbe", "vbs", "vhd", "vhdx", "vxd", "wll", "wsc", "wsf", "wsh", "xll", "xlam",
)
# fmt: on


class Junk(Section, frozen=True):
    """Unwanted mail: what is learnt from people, and what happens to mail that was refused by its score."""

    learn: bool = True
    """Learn from what people do: moving mail into and out of Junk, marking it as junk or not, answering it."""
    refuse_malformed: bool = False
    """Refuse messages without exactly one From and one Date field (550). Otherwise that is only a score."""
    rejects_mailbox: Annotated[str, Meta(max_length=200)] = "Rejects"
    """Where mail refused by its score alone is kept for its recipient; "" keeps none. Moving it out of there says that it
    was wanted."""
    rejects_days: Annotated[int, Meta(ge=1, le=365)] = 14
    """How long it is kept."""
    rejects_max_messages: Annotated[int, Meta(ge=1, le=100_000)] = 500
    """The most that is kept of one account; the oldest go first."""
    rejects_max_bytes: Annotated[int, Meta(ge=65_536)] = 52_428_800
    """The most that is kept of one account, and never more than a tenth of its quota."""


class Attachments(Section, frozen=True):
    """Attached files, also those inside ZIP archives."""

    junk_types: list[str] = field(default_factory=lambda: list(DANGEROUS_TYPES))
    """Endings of file names that hardly anybody sends for a good reason: such a message is junk."""
    refuse_types: list[str] = field(default_factory=list)
    """Endings of file names with which a message is refused (550)."""


ScannerTrouble = Literal["open", "closed"]


class Rspamd(Section, frozen=True):
    """An rspamd beside this server, asked about every message from strangers."""

    url: str = ""
    """Its normal worker, such as "http://127.0.0.1:11333", or "unix:/run/rspamd/worker.sock"; "" asks none."""
    password_file: str = ""
    """A file holding its password, if it wants one."""
    timeout_seconds: Annotated[int, Meta(ge=1, le=9)] = 8
    """The whole time for one message."""
    fail: ScannerTrouble = "open"
    """open: mail comes in when it does not answer; closed: the sender is asked to come back (451)."""
    weight: Annotated[float, Meta(gt=0, le=10)] = 0.5
    """What one point of its score is worth here; at most 8 points are added and 4 taken away."""
    reject: bool = False
    """Refuse what it says is to be refused; otherwise that is junk."""


class Clamav(Section, frozen=True):
    """A ClamAV daemon (clamd) beside this server, given every message from strangers."""

    address: str = ""
    """Its socket: "unix:/run/clamav/clamd.ctl" or "127.0.0.1:3310"; "" asks none."""
    timeout_seconds: Annotated[int, Meta(ge=1, le=9)] = 8
    """The whole time for one message."""
    max_bytes: Annotated[int, Meta(ge=1024)] = 26_214_400
    """Larger messages are scanned up to here. Must not exceed clamd's StreamMaxLength."""
    fail: ScannerTrouble = "open"
    """open: mail comes in when it does not answer; closed: the sender is asked to come back (451)."""
    action: Literal["junk", "reject"] = "reject"
    """What happens to a message with a virus."""
