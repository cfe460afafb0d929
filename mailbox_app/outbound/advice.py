"""What well-known refusals of other servers mean and what to do about them, in a plain sentence. Pure.

Providers answer in codes of their own (S3140, TSS04, 5.7.26); this table knows the common ones. It looks at the answer's text and
its enhanced status, the more telling rows first; an answer that it does not know gets no advice rather than a guess.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Advice:
    """`code` is stable, for programs; `sentence` is for the operator; `link`: where the other side explains or lifts it, or ""."""

    code: str
    sentence: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class _Row:
    pattern: re.Pattern[str]
    advice: Advice


def _row(pattern: str, code: str, sentence: str, link: str = "") -> _Row:
    return _Row(re.compile(pattern, re.IGNORECASE), Advice(code, sentence, link))


_TEXT_CHARACTERS = 1024
_ANOTHER_ROUTE = "Until then a route through a smarthost for that domain lets the mail pass."

_BY_TEXT = (
    _row(
        r"\bS3[0-9]{3}\b|part of their network is on our block list",
        "provider.microsoft_block_list",
        "Microsoft has this server's network on its block list for Outlook and Hotmail: ask for removal at the link, with"
        f" the address of this server. {_ANOTHER_ROUTE}",
        "https://olcsupport.office.com/",
    ),
    _row(
        r"\b5\.7\.6(0[6-9]|[1-4][0-9])\b|banned sending ip",
        "provider.microsoft_banned_address",
        f"Microsoft 365 refuses this server's address: ask for removal at the link. {_ANOTHER_ROUTE}",
        "https://sender.office.com/",
    ),
    _row(
        r"\b4\.7\.(650|5\d\d)\b|\bS77[0-9]{3}\b|\bRP-00[1-3]\b",
        "provider.microsoft_rate",
        "Microsoft slows this server down because it does not know it well or gets too much at once: the mail is tried again;"
        " send less at a time and let the amount grow over weeks.",
        "https://olcsupport.office.com/",
    ),
    _row(
        r"\b5\.7\.515\b|required authentication level",
        "authentication.missing",
        "Outlook wants SPF, DKIM and DMARC that pass for the domain in From: compare the domain's records with `mailbox"
        " domain dns DOMAIN --check`.",
    ),
    _row(
        r"IPv6 sending guidelines",
        "dns.ipv6_reverse_name",
        "Google refuses this server's IPv6 address because its reverse name (PTR) is missing or the message is not"
        ' authenticated: set the PTR at the hosting provider, or send by IPv4 only (delivery.family = "4").',
        "https://support.google.com/mail/answer/81126",
    ),
    _row(
        r"\b[45]\.7\.25\b|does not have a PTR record|no (valid )?(PTR|reverse)\b|reverse (dns|hostname|lookup)\b.{0,60}"
        r"(fail|missing|not found|required|invalid)|cannot find your (reverse )?host ?name|unknown client host",
        "dns.reverse_name",
        "The reverse name (PTR) of this server's address is missing or does not lead back to the address: set it at the"
        " hosting provider to this server's name. `mailbox route explain` shows what DNS says now.",
    ),
    _row(
        r"\b[45]\.7\.26\b|unauthenticated (email|mail)|message (was )?not authenticated",
        "authentication.unauthenticated",
        "The other side could not authenticate the message by SPF or DKIM: compare the domain's records with `mailbox domain"
        " dns DOMAIN --check`. A forwarded message that came with SPF alone loses it on the way, and only its author's"
        " domain can mend that.",
        "https://support.google.com/mail/answer/81126",
    ),
    _row(
        r"\b[45]\.7\.28\b|unusual rate of (unsolicited )?mail|\b421-4\.7\.0\b",
        "provider.google_rate",
        "Google sees an unusual amount of mail from this server: send less at a time, and look for an account that sends"
        " what it should not.",
        "https://support.google.com/mail/answer/81126",
    ),
    _row(
        r"\bTSS?[0-9]{2}\b|unexpected volume or user complaints",
        "provider.yahoo_deferred",
        "Yahoo puts this server's mail off because of complaints or an unusual amount: the mail is tried again; send less and"
        " look for an account that sends what it should not.",
        "https://senders.yahooinc.com/",
    ),
    _row(
        r"spamhaus|\bzen\.|\b(SBL|XBL|PBL|CSS)\d*\b",
        "list.spamhaus",
        f"This server's address is on a list of Spamhaus: see why at the link, end the cause and ask for removal. {_ANOTHER_ROUTE}",
        "https://check.spamhaus.org/",
    ),
    _row(
        r"tosa@rx\.t-online\.de",
        "provider.t_online",
        "T-Online takes mail only from servers that it knows: write to tosa@rx.t-online.de with this server's name and address."
        " They want a page with the operator's name at the server's name.",
    ),
    _row(
        r"postmaster\.gmx|postmaster\.web\.de|kundenserver.*policy|nemesis esmtp",
        "provider.gmx",
        "GMX, web.de or IONOS refuse the connection by their rules (an address without a good name, or on a list): the link"
        " explains the answer.",
        "https://postmaster.gmx.net/en/error-messages",
    ),
    _row(
        r"block[- ]?list|black[- ]?list|\b(DNSBL|RBL)\b|listed (at|in|on|by) ",
        "list.other",
        "The other side says that this server's address is on a block list: its answer names the list, whose pages tell why"
        f" and how to get off it. {_ANOTHER_ROUTE}",
    ),
    _row(
        r"grey-?list|gray-?list",
        "wait.greylisted",
        "The other side asks every new sender to come back: nothing needs to be done, the mail goes at a later try.",
    ),
    _row(
        r"relay(ing)? (access )?(is )?(denied|not (permitted|allowed))|not permitted to relay|unable to relay",
        "route.relaying_denied",
        "The host that was asked does not take mail for this domain from us: a smarthost wants a login (user and password_file"
        " of the route), another server is the wrong one for the domain.",
    ),
    _row(
        r"(rejected|fails?|failed|because).{0,60}\bDMARC\b|\bDMARC\b.{0,60}(reject|fail|quarantine)|\b5\.7\.509\b",
        "authentication.dmarc",
        "The message fails the DMARC policy of the domain in From: neither its SPF nor its DKIM domain is that domain. Compare"
        " the domain's records with `mailbox domain dns DOMAIN --check`.",
    ),
    _row(
        r"\bSPF\b.{0,60}(fail|reject|denied|not (allowed|authori[sz]ed))|(fail|reject).{0,40}\bSPF\b",
        "authentication.spf",
        "The sender's domain does not name this server in its SPF record: compare it with `mailbox domain dns DOMAIN --check`;"
        " with a smarthost, its addresses belong into the record.",
    ),
    _row(
        r"too many (connections|messages|emails|mails|recipients)|rate limit|throttl|too (fast|much mail)",
        "wait.rate",
        "The other side takes only so much at a time: the mail is tried again; a smaller concurrency or rate for its route"
        " avoids the answer.",
    ),
)

_CHECK_RECORDS = "compare the domain's records with `mailbox domain dns DOMAIN --check`"
_NO_DKIM = Advice(
    "authentication.dkim",
    "The other side found no DKIM signature of the From domain that it accepts: `mailbox dkim list` shows whether there is a"
    f" key; {_CHECK_RECORDS}.",
)
_BY_STATUS = {  # RFC 7372, RFC 3463; below the texts, which tell more
    "7.20": _NO_DKIM,
    "7.21": _NO_DKIM,
    "7.22": _NO_DKIM,
    "7.23": Advice(
        "authentication.spf", f"The sender's domain does not name this server in its SPF record: {_CHECK_RECORDS}."
    ),
    "7.24": Advice("authentication.spf", f"The SPF record of the sender's domain is broken: {_CHECK_RECORDS}."),
    "2.2": Advice("recipient.full", "The recipient's mailbox is full: only the recipient can change that."),
    "1.1": Advice("recipient.unknown", "The other side knows no such recipient: the address is misspelt or gone."),
}


def advice_for(code: int, enhanced: str, text: str) -> Advice | None:
    """The advice for an answer of another server, None when it is not a known one.

    `code` is the SMTP code, `enhanced` the status ("5.7.1") or "", `text` the answer's text. Only refusals get advice.
    """
    if code // 100 not in (4, 5):
        return None
    looked_at = f"{enhanced} {text}"[:_TEXT_CHARACTERS]
    for row in _BY_TEXT:
        if row.pattern.search(looked_at):
            return row.advice
    return _BY_STATUS.get(enhanced.partition(".")[2])
