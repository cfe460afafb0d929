"""What every setting means: the docstrings of schema.py, kept here because a frozen build has no source.

Made by tests/config/test_manual.py; change schema.py instead.
"""
# ruff: noqa: E501
# fmt: off

from __future__ import annotations

from collections.abc import Mapping

MANUAL: Mapping[str, str] = {
    "server": "Who this server is and where it keeps things.",
    "server.hostname": "The name in greetings, EHLO, Received and certificates. Must resolve to this machine for others to trust it.",
    "server.data_dir": "Mail, directory, queue, journal, keys. Default: /var/lib/mailserver as a service, else the user's data folder.",
    "server.run_dir": "The control socket's folder. Default: /run/mailserver for the service's data folder, else `run` below data_dir.",
    "server.user": "The user to become after the ports are bound, when started as root.",
    "server.fronts": "Front processes. 0: one per core, four at most.",
    "listen": "Where each service listens: lists of \"address:port\" or \"[v6]:port\"; [] switches a service off; port 0: any free.",
    "listen.smtp": "Mail from other servers.",
    "listen.submission": "Mail from our users: STARTTLS, then AUTH.",
    "listen.submissions": "Mail from our users, TLS from the first byte.",
    "listen.imap": "IMAP with STARTTLS; LOGIN only after it.",
    "listen.imaps": "IMAP, TLS from the first byte.",
    "listen.pop3": "POP3 with STLS; USER, PASS and AUTH only after it.",
    "listen.pop3s": "POP3, TLS from the first byte.",
    "listen.managesieve": "Filter scripts by ManageSieve. Not part of this version: the ports stay closed.",
    "listen.https": "DAV, MTA-STS policy, client auto-configuration, tls-alpn-01. Not part of this version: the ports stay closed.",
    "listen.http": "http-01 challenges and redirects. Not part of this version: the ports stay closed.",
    "listen.metrics": "/metrics, /health, /health/detailed, /ready.",
    "listen.console": "The web console; loopback only. Not part of this version: the ports stay closed.",
    "tls": "Certificates and what may be said without them.",
    "tls.auto_tls": "Certificates by ACME, which this version does not carry out yet: true and false both mean the files below, or a self-signed certificate made once.",
    "tls.email": "Contact address of the ACME account. Not used by this version.",
    "tls.cert_file": "PEM chain, leaf first.",
    "tls.key_file": "PEM private key of the leaf.",
    "tls.acme_directory": "ACME directory address; empty: Let's Encrypt. Not used by this version.",
    "tls.acme_ca_file": "Extra trust for a private or test CA of ACME. Not used by this version.",
    "tls.require_tls": "Submission, IMAP, POP3 and ManageSieve take no credentials in clear, without exception.",
    "dns": "Whom to ask.",
    "dns.servers": "Resolvers, \"address\" or \"address:port\"; []: the system's.",
    "dns.timeout_seconds": "The whole time for one question.",
    "limits": "Bounds on what a stranger may ask of us.",
    "limits.max_message_bytes": "The largest message accepted, also the advertised SIZE.",
    "limits.max_recipients": "Recipients of one message.",
    "delivery": "Mail to other servers.",
    "delivery.require_tls": "Never deliver in clear, to anyone. DANE and MTA-STS are not part of this version.",
    "delivery.ca_file": "Extra trust for test networks.",
    "delivery.allow_private_addresses": "MX that resolve to loopback or private networks are refused unless true.",
    "delivery.port": "The port of other mail servers; another one than 25 only makes sense in a test network.",
    "delivery.smarthost": "The \"host:port\" that takes all outgoing mail; empty: deliver by MX.",
    "queue": "Where waiting mail lives.",
    "queue.backend": "sqlite: on this machine; redis: shared by several nodes, which this version refuses.",
    "queue.redis_url": "redis://, rediss:// or unix://. Not used by this version.",
    "queue.redis_password_file": "A file holding the password, so that it is not in the address. Not used by this version.",
    "greylist": "Asking strangers to come back. This version does not do it yet, whatever these keys say.",
    "greylist.enabled": "Ask unknown senders to try again later. Not carried out by this version.",
    "greylist.min_delay": "The shortest wait before the second try counts. Not used by this version.",
    "greylist.max_age": "How long a known sender is remembered. Not used by this version.",
    "log": "The structured log on standard error.",
    "log.level": "error: the operator must act; warning: odd; info: the mail log; debug: protocol.",
    "log.format": "auto: text on a terminal, JSON lines elsewhere.",
}
