"""The commands: name, module below this package, and the line that help shows, so that help imports none of them."""

from __future__ import annotations

COMMANDS: tuple[tuple[str, str, str], ...] = (
    ("serve", "serve", "Run the server in the foreground."),
    ("status", "status", "What runs, and how it is."),
    ("domain", "domain", "Domains whose mail ends here."),
    ("user", "user", "Accounts."),
    ("alias", "alias", "Addresses that stand for others."),
    ("dkim", "dkim", "Signing keys."),
    ("sieve", "sieve", "Filter scripts: rules for incoming mail."),
    ("queue", "queued_mail", "Waiting mail."),
    ("breaker", "breaker", "Other servers that mail waits for."),
    ("suppression", "suppression", "Addresses that nothing is sent to any more."),
    ("route", "route", "The ways on which mail leaves."),
    ("greylist", "greylist", "Strangers who were asked to come back."),
    ("junk", "junk", "What the junk classifier has learnt."),
    ("ban", "ban", "Who may not connect."),
    ("policy", "policy", "How mail from outside is judged."),
    ("tls", "tls", "Encryption on the way to other servers."),
    ("config", "config", "The configuration."),
    ("audit", "audit", "Who changed what."),
    ("report", "report", "What other servers report about your domains."),
    ("trace", "trace", "Why a message went where it went."),
    ("imap", "imap", "An account's mail over standard input and output, for tunnels through SSH."),
    ("sendmail", "sendmail", "Send a message from standard input; for cron, mail(1) and other programs."),
    ("rebuild-index", "rebuild_index", "Make an account's index anew from its files."),
    ("check-store", "check_store", "Compare indexes and files."),
    ("demo", "demo", "The whole server on loopback, with mail flowing."),
    ("version", "version", "This program's version."),
)
