"""Every bound of the SMTP service, with the reason for its value. Message size and recipients come from the configuration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SmtpLimits:
    """Bounds of sessions; counts are per session if nothing else is said."""

    connections: int = 1_000
    """Per service and process; the next one hears 421."""
    connections_per_address: int = 50
    """Per service and process, not for loopback: one stranger cannot take all places."""
    connections_per_network: int = 200
    """The same for a /24 or /48."""
    command_seconds: float = 300.0
    """RFC 5321 4.5.3.2.7."""
    block_seconds: float = 180.0
    """Between two pieces of content. RFC 5321 4.5.3.2.5."""
    content_seconds: float = 600.0
    """Grace for a whole content, beside its slowest allowed rate."""
    content_bytes_per_second: int = 1_024
    """A 25 MiB message may take 7 hours on a bad line; one byte every three minutes may not."""
    session_seconds: float = 14_400.0
    """No session starts another command after this."""
    handshake_seconds: float = 30.0
    """For TLS after STARTTLS."""
    errors: int = 20
    """Refused commands since the last accepted message: a list with a few dead addresses passes, a dictionary does not."""
    idle_commands: int = 200
    """Commands since the last accepted message, beside RCPT."""
    recipients_asked: int = 10
    """RCPT commands of one message, in times of the recipients it may have: a long list that must wait passes, a flood does not."""
    messages: int = 1_000
    """Then the client must connect again, perhaps to another process."""
    logins: int = 3
    """Failed ones."""
    login_delay_seconds: float = 1.0
    """Before a failed login is answered, times the failures so far."""
    surplus_bytes: int = 67_108_864
    """How much content beyond the size limit is read and dropped before the connection is closed."""
    memory_bytes: int = 1_048_576
    """A content up to here stays in memory..."""
    piece_bytes: int = 131_072
    """... a larger one is written to a file in pieces of this size."""
    memory_total_bytes: int = 1_048_576
    """When all contents in memory are larger than this together, each goes to its file from one piece on."""
    hops: int = 50
    """Received fields; more mean a loop. RFC 5321 6.3."""
    checks_seconds: float = 10.0
    """For SPF, DKIM, DMARC and the policy's look at the message together..."""
    lookup_seconds: float = 8.0
    """... and for the first three of them alone, so that time is left for the rest when DNS takes all it may."""
    slowed_connections: int = 100
    """Clients that wait for an answer to their errors at once, per process: no more places than that."""
