"""The configuration's shape. The docstring under a field is its manual; every key but `server.hostname` has a default.

Decoded by msgspec with unknown keys forbidden; `config/load.py` turns an error into file, line and key.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from mailbox_app.config.abuse import Abuse
from mailbox_app.config.content import Attachments, Clamav, Junk, Rspamd
from mailbox_app.config.doors import Lmtp, Proxy
from mailbox_app.config.pacing import Destination, WarmUp
from mailbox_app.config.reports import Reports
from mailbox_app.config.routes import Family, Routes
from mailbox_app.config.section import Section
from mailbox_app.config.submission import LocalSubmission, Submission
from mailbox_app.proto.sasl.negotiation import NAMES

Duration = Annotated[str, Meta(pattern=r"^\d+(s|m|h|d|w)$", description="a whole number and s, m, h, d or w")]
Listeners = list[Annotated[str, Meta(pattern=r"^(\*|\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]+):\d{1,5}$")]]
LocalListeners = list[Annotated[str, Meta(pattern=r"^(unix:/.+|(\*|\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]+):\d{1,5})$")]]
Mechanisms = list[Annotated[str, Meta(pattern=f"^({'|'.join(NAMES)})$")]]
HiddenCapabilities = list[Annotated[str, Meta(pattern=r"^[^:]*[^: ][^:]*:( +[!-~]+)+$")]]
Positive = Annotated[int, Meta(ge=1)]


class Server(Section, frozen=True):
    """Who this server is and where it keeps things."""

    hostname: Annotated[str, Meta(min_length=1, max_length=253)]
    """The name in greetings, EHLO, Received and certificates. Must resolve to this machine for others to trust it."""
    data_dir: str = ""
    """Mail, directory, queue, journal, keys. Default: /var/lib/mailserver as a service, else the user's data folder."""
    run_dir: str = ""
    """The control socket's folder. Default: /run/mailserver for the service's data folder, else `run` below data_dir."""
    user: str = "mailserver"
    """The user to become after the ports are bound, when started as root."""
    fronts: Annotated[int, Meta(ge=0, le=64)] = 0
    """Front processes. 0: one per core, four at most."""


class Listen(Section, frozen=True):
    """Where each service listens: lists of "address:port" or "[v6]:port"; [] switches a service off; port 0: any free."""

    smtp: Listeners = field(default_factory=lambda: ["*:25"])
    """Mail from other servers."""
    submission: Listeners = field(default_factory=lambda: ["*:587"])
    """Mail from our users: STARTTLS, then AUTH."""
    submissions: Listeners = field(default_factory=lambda: ["*:465"])
    """Mail from our users, TLS from the first byte."""
    lmtp: LocalListeners = field(default_factory=list)
    """Mail from another mail server in front of this one: "address:port", or "unix:/path" for a Unix socket."""
    imap: Listeners = field(default_factory=list)
    """IMAP with STARTTLS; LOGIN only after it."""
    imaps: Listeners = field(default_factory=lambda: ["*:993"])
    """IMAP, TLS from the first byte."""
    pop3: Listeners = field(default_factory=list)
    """POP3 with STLS; USER, PASS and AUTH only after it."""
    pop3s: Listeners = field(default_factory=list)
    """POP3, TLS from the first byte."""
    managesieve: Listeners = field(default_factory=lambda: ["*:4190"])
    """Filter scripts by ManageSieve: STARTTLS, then AUTHENTICATE."""
    https: Listeners = field(default_factory=lambda: ["*:443", "*:8443"])
    """DAV, MTA-STS policy, client auto-configuration, tls-alpn-01. Not part of this version: the ports stay closed."""
    http: Listeners = field(default_factory=lambda: ["*:80"])
    """http-01 challenges and redirects. Not part of this version: the ports stay closed."""
    metrics: Listeners = field(default_factory=lambda: ["127.0.0.1:9254"])
    """/metrics, /health, /health/detailed, /ready."""
    console: Listeners = field(default_factory=list)
    """The web console; loopback only. Not part of this version: the ports stay closed."""


class Tls(Section, frozen=True):
    """Certificates and what may be said without them."""

    auto_tls: bool = True
    """Certificates by ACME, which this version does not carry out yet: true and false both mean the files below, or a
    self-signed certificate made once."""
    email: str = ""
    """Contact address of the ACME account. Not used by this version."""
    cert_file: str = ""
    """PEM chain, leaf first."""
    key_file: str = ""
    """PEM private key of the leaf."""
    acme_directory: str = ""
    """ACME directory address; empty: Let's Encrypt. Not used by this version."""
    acme_ca_file: str = ""
    """Extra trust for a private or test CA of ACME. Not used by this version."""
    client_ca_file: str = ""
    """PEM certificates of the CAs whose client certificates log in by EXTERNAL, as the mail address in them; empty: clients are
    not asked for one."""
    require_tls: bool = True
    """Submission, IMAP, POP3 and ManageSieve take no credentials in clear, without exception."""


class Login(Section, frozen=True):
    """How people log in."""

    mechanisms: Mechanisms = field(default_factory=lambda: list(NAMES))
    """SASL mechanisms offered. Those that need something that is not there stay hidden: the PLUS forms TLS, EXTERNAL a client
    certificate, OAUTHBEARER and XOAUTH2 the oauth section. Plain passwords are also taken by IMAP's LOGIN and POP3's PASS."""


class OAuth(Section, frozen=True):
    """Logins by OAuth tokens, which the server that gave them out is asked about (RFC 7662)."""

    introspection_url: str = ""
    """Where to ask: https, or http on this machine; empty: no such logins."""
    client_id: str = ""
    """Our name there."""
    client_secret_file: str = ""
    """A file holding our password there."""
    scope: str = ""
    """A token must have this scope; empty: any will do."""
    configuration_url: str = ""
    """Where clients without a good token find the server that gives tokens (its openid-configuration)."""
    ca_file: str = ""
    """Extra trust for a private CA."""


class Dns(Section, frozen=True):
    """Whom to ask."""

    servers: list[str] = field(default_factory=list)
    """Resolvers, "address" or "address:port"; []: the system's."""
    timeout_seconds: Annotated[int, Meta(ge=1, le=60)] = 5
    """The whole time for one question."""
    dnssec: Literal["auto", "trust", "ignore"] = "auto"
    """Whether the resolvers' word that an answer is signed counts; DANE needs it. auto: if all of them are on this machine;
    trust: nobody can change answers between them and us; ignore: never."""
    authority_port: Annotated[int, Meta(ge=1, le=65535)] = 53
    """The port of zones' own name servers; another one than 53 only makes sense in a test network."""


class Dkim(Section, frozen=True):
    """Signatures of mail that leaves."""

    rotate_after: Duration = "0d"
    """Prepare new keys when those in use are so old; the switch waits until you have published them, and health reminds you.
    0d: only when you say `mailbox dkim rotate`."""


class Limits(Section, frozen=True):
    """Bounds on what a stranger may ask of us."""

    max_message_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 26_214_400
    """The largest message accepted, also the advertised SIZE."""
    max_recipients: Annotated[int, Meta(ge=1, le=10_000)] = 100
    """Recipients of one message."""


class Imap(Section, frozen=True):
    """IMAP sessions."""

    max_sessions_per_account: Annotated[int, Meta(ge=10, le=10_000)] = 100
    """Sessions of one account at once, per front. One more ends the one that did nothing for the longest time."""
    hide: HiddenCapabilities = field(default_factory=list)
    """Capabilities kept from clients or accounts that trip over them: "who: NAME NAME", where who is a part of the name that the
    client gives by ID, an address, "@domain", or "*", like "Outlook: MOVE QRESYNC". What is hidden is not advertised, and
    its commands and ENABLE names are not known."""


class Delivery(Section, frozen=True):
    """Mail to other servers."""

    require_tls: bool = False
    """Never deliver in clear, nor to hosts without a valid certificate, to anyone. DANE and MTA-STS always bind."""
    tls_downgrade_hold: Duration = "1d"
    """How long mail waits for a domain that used to take it encrypted and now offers no encryption. "0s": not at all."""
    plain_after_tls_failure: Duration = "0s"
    """Mail for a domain whose TLS keeps failing (no DANE, no MTA-STS) goes in clear after so long. "0s": it never does."""
    mta_sts_port: Annotated[int, Meta(ge=1, le=65535)] = 443
    """The port of other domains' policy servers; another one than 443 only makes sense in a test network."""
    ca_file: str = ""
    """Extra trust for test networks."""
    allow_private_addresses: bool = False
    """MX that resolve to loopback or private networks are refused unless true."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 25
    """The port of other mail servers; another one than 25 only makes sense in a test network."""
    smarthost: str = ""
    """The "host:port" that takes all outgoing mail that no rule of [routes] sends elsewhere; empty: deliver by MX."""
    sources: list[str] = field(default_factory=list)
    """Addresses of this machine to send from, each "address" or "address name" with its own EHLO name; []: the system's choice."""
    connections: Annotated[int, Meta(ge=1, le=100)] = 5
    """Messages at once to one recipient domain; a change holds from the next start."""
    destinations: dict[str, Destination] = field(default_factory=dict)
    """The pace of single destinations, a recipient domain or the organisation of its mail servers, for all domains there:
    [delivery.destinations."example.org"] with connections (at once) and per_minute (messages); 0: the usual."""
    warm_up: WarmUp = field(default_factory=WarmUp)
    """Growing volumes for a new address."""
    family: Family = "auto"
    """IPv4 and IPv6. auto: IPv6 only if the reverse name (PTR) of our IPv6 address leads back to it; 4 or 6: that one alone;
    prefer4, prefer6: both, that one first. `mailbox route explain` shows what came of it."""


class Queue(Section, frozen=True):
    """Where waiting mail lives."""

    backend: Literal["sqlite", "redis"] = "sqlite"
    """sqlite: on this machine; redis: shared by several nodes. Waiting mail moves to the new place by itself after a restart."""
    redis_url: str = ""
    """redis://, rediss:// or unix://, like "redis://192.0.2.1:6379/0"."""
    redis_password_file: str = ""
    """A file (mode 0600) holding the password, so that it is not in the address."""
    redis_ca_file: str = ""
    """For rediss://, extra trust: the certificate authority of the server's certificate; empty: the system's."""
    redis_prefix: Annotated[str, Meta(min_length=1, max_length=64, pattern="^[A-Za-z0-9_.{}-]+$")] = "mailbox"
    """What every key begins with. Nodes with the same prefix act as one; another one keeps two clusters on one server apart."""
    redis_body_bytes: Annotated[int, Meta(ge=0, le=1 << 30)] = 1_048_576
    """Larger messages are files in `shared_dir`, when there is one."""
    redis_replicas: Annotated[int, Meta(ge=0, le=9)] = 0
    """How many replicas of the Redis server must have a message before it counts as accepted."""
    shared_dir: str = ""
    """A directory that all nodes mount (NFS, for instance) for large messages of a queue in Redis; empty: all are in Redis."""
    history_days: Annotated[int, Meta(ge=1, le=3650)] = 30
    """How long is known what became of mail that has left the queue."""
    retry_delays: Annotated[list[Duration], Meta(min_length=1, max_length=100)] = field(
        default_factory=lambda: ["5m", "15m", "30m", "1h", "2h", "4h", "8h", "16h", "1d"]
    )
    """How long mail waits after its first, second and each further try; the last one repeats. Each is spread by a tenth."""
    max_attempts: Annotated[int, Meta(ge=1, le=1000)] = 15
    """After so many tries, and after seven days in any case, mail goes back to its sender."""


CheckMode = Literal["off", "advisory", "enforce"]


class Policy(Section, frozen=True):
    """Which mail from strangers is wanted. Every message gets a score; what the score says decides where it goes."""

    junk_score: Annotated[float, Meta(gt=0)] = 5.0
    """From this score on a message goes into the Junk mailbox."""
    reject_score: Annotated[float, Meta(ge=0)] = 0.0
    """From this score on a message is refused. 0: a score alone never refuses."""
    trusted_networks: list[str] = field(default_factory=list)
    """Networks such as "192.0.2.0/24" whose clients are ours: never greylisted, delayed or banned. This machine always is."""
    allow: list[str] = field(default_factory=list)
    """Senders that no check holds up: networks ("192.0.2.0/24"), domains ("example.org", with all below it) and
    addresses ("someone@example.org")."""
    dmarc: Literal["enforce", "junk", "report"] = "enforce"
    """Mail that fails the DMARC policy of its author's domain. enforce: do what that domain asks, reject or junk (junk also
    for what a list or forwarder may have changed); junk: never reject, junk instead; report: only write it down."""
    trusted_sealers: list[str] = field(default_factory=list)
    """Domains of forwarders and lists whose ARC seal is believed: what passed DMARC on its way to them is not refused."""
    checks: dict[str, CheckMode] = field(default_factory=dict)
    """How each check is taken: off, advisory (recorded, but without a say) or enforce; those not named keep their default."""


class Greylist(Section, frozen=True):
    """Asking strangers that look risky to come back a little later: mail servers do, most spam programs do not."""

    enabled: bool = True
    """Ask unknown senders to try again later."""
    who: Literal["suspicious", "unknown"] = "suspicious"
    """suspicious: only unknown senders without SPF pass, without a host name of their own, or on a DNS block list wait;
    unknown: everybody does the first time."""
    min_delay: Duration = "5m"
    """The shortest wait before the second try counts."""
    max_age: Duration = "35d"
    """How long a known sender is remembered after its last mail."""
    ceiling: Duration = "1h"
    """Nothing waits longer than this, whoever brings it and however often it tries."""
    attempts: Annotated[int, Meta(ge=2, le=20)] = 3
    """The same letter passes at this attempt even from a new place each time, as large providers send; tries within
    min_delay count as one."""
    network_passes: Annotated[int, Meta(ge=0)] = 5
    """A network or domain that came back so often passes for everybody. 0: never."""


ListZone = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+$")]
ListCode = Annotated[str, Meta(pattern=r"^127(\.(\*|\d{1,3}(-\d{1,3})?)){3}$")]


class ListAnswer(Section, frozen=True):
    """What one documented answer of a list means."""

    meaning: str
    score: float


class DnsList(Section, frozen=True):
    """One list."""

    answers: dict[ListCode, ListAnswer]
    ipv6: bool = True


class Dnsbl(Section, frozen=True):
    """DNS block lists: who is known for spam. None is asked unless you name it: read its terms, many want a registration."""

    lists: dict[ListZone, DnsList] = field(default_factory=dict)
    """By zone: the answers its documentation names, each with a meaning and a score to add, such as "127.0.0.2", a range
    "127.0.0.4-7" or any number "127.0.*.3"; ipv6 = false when it has no IPv6 part. Any other answer switches the list off for
    an hour and is reported."""


class Dnswl(Section, frozen=True):
    """DNS allow lists: who is known for good mail; such senders are never greylisted. None is asked unless you name it."""

    lists: dict[ListZone, DnsList] = field(default_factory=dict)
    """As in dnsbl; scores are zero or below."""


class UrlLists(Section, frozen=True):
    """Domains that links in junk lead to."""

    lists: dict[ListZone, DnsList] = field(default_factory=dict)
    """DNS lists of domains, as in dnsbl, asked about the domains a message links to."""
    deny: list[str] = field(default_factory=list)
    """Domains, with all below them, whose links make a message junk."""
    allow: list[str] = field(default_factory=list)
    """Domains, with all below them, that no list is asked about."""


class Sieve(Section, frozen=True):
    """The filter scripts: the accounts' own and the administrator's."""

    before: list[str] = field(default_factory=list)
    """Files with scripts that run on every account's mail before its own one. When a script of the row neither keeps the
    message nor leaves it to the implicit keep, the later ones do not run."""
    after: list[str] = field(default_factory=list)
    """Files with scripts that run after the account's own one, if that kept the message."""
    global_dir: str = ""
    """The folder with the scripts (`name.sieve`) that `include :global` finds; empty: there are none."""
    max_script_bytes: Annotated[int, Meta(ge=1024, le=1 << 20)] = 65_536
    """The largest script an account may keep."""
    max_scripts: Annotated[int, Meta(ge=1, le=1000)] = 32
    """Scripts of one account."""
    max_redirects: Annotated[int, Meta(ge=0, le=100)] = 4
    """Addresses that one account's scripts may pass one message on to."""
    redirects_per_day: Annotated[int, Meta(ge=0)] = 1000
    """Messages that one account's scripts may pass on in a day; further ones are only kept. 0: none."""
    redirect_junk: bool = False
    """Pass on junk, too: other servers then take this one for where the junk comes from. False: it is kept in Junk."""
    detail_mailboxes: bool = False
    """Mail for alice+shop goes into alice's mailbox shop when there is one and neither a script nor the junk verdict decides.
    False: into INBOX, as mail for alice does."""
    answers_per_day: Annotated[int, Meta(ge=0)] = 300
    """Out-of-office answers and notifications together that one account's scripts may send in a day. 0: none."""


class Addresses(Section, frozen=True):
    """How addresses are read."""

    separators: Annotated[str, Meta(pattern=r"^[-+=_.]{0,5}$")] = "+"
    """What may stand between a name and its detail: mail for alice+lists goes to alice. Several are possible ("+-"); "" switches
    it off. A domain can have its own: `domain separators`."""


class Forwarding(Section, frozen=True):
    """Mail that leaves again: outside members of aliases and lists."""

    srs_domain: str = ""
    """The domain of rewritten senders, to which reports come back; its MX must be this server. "" = the alias's domain."""
    junk: Literal["refuse", "keep", "forward"] = "refuse"
    """What becomes of junk for an alias that leads outside. refuse: it is not passed on, and when nobody else here gets the
    message its sender is told so; keep: the domain's postmaster gets it into Junk; forward: it is passed on, and other servers
    may take this one for where junk comes from."""


class Retention(Section, frozen=True):
    """How long what people throw away can still come back. It is outside their quotas."""

    expunged_days: Annotated[int, Meta(ge=0, le=3650)] = 14
    """Expunged messages and deleted mailboxes come back with `user restore` for so many days. 0: they are gone at once."""
    expunged_max_bytes: Annotated[int, Meta(ge=0)] = 1_073_741_824
    """The most that is kept of one account; the oldest go first."""
    expunged_max_percent: Annotated[int, Meta(ge=0, le=1000)] = 50
    """The most in percent of the account's quota, when it has one; the lower of both bounds counts."""


class Log(Section, frozen=True):
    """The structured log on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """error: the operator must act; warning: odd; info: the mail log; debug: protocol."""
    format: Literal["auto", "text", "json"] = "auto"
    """auto: text on a terminal, JSON lines elsewhere."""


class Config(Section, frozen=True):
    """The whole file."""

    server: Server
    """Who this server is."""
    listen: Listen = field(default_factory=Listen)
    """Where it listens."""
    tls: Tls = field(default_factory=Tls)
    """Certificates."""
    login: Login = field(default_factory=Login)
    """How people log in."""
    oauth: OAuth = field(default_factory=OAuth)
    """Logins by tokens."""
    dns: Dns = field(default_factory=Dns)
    """Whom to ask."""
    dkim: Dkim = field(default_factory=Dkim)
    """Signing keys."""
    limits: Limits = field(default_factory=Limits)
    """Bounds."""
    proxy: Proxy = field(default_factory=Proxy)
    """Proxies in front."""
    lmtp: Lmtp = field(default_factory=Lmtp)
    """Another mail server in front."""
    submission: Submission = field(default_factory=Submission)
    """What our users may ask when they send."""
    local_submission: LocalSubmission = field(default_factory=LocalSubmission)
    """Mail from programs of this machine."""
    sieve: Sieve = field(default_factory=Sieve)
    """Filter scripts."""
    addresses: Addresses = field(default_factory=Addresses)
    """Names and details."""
    forwarding: Forwarding = field(default_factory=Forwarding)
    """Mail that leaves again."""
    retention: Retention = field(default_factory=Retention)
    """What was thrown away."""
    imap: Imap = field(default_factory=Imap)
    """IMAP sessions."""
    delivery: Delivery = field(default_factory=Delivery)
    """Mail to other servers."""
    routes: Routes = field(default_factory=Routes)
    """Ways out by recipient and sender."""
    queue: Queue = field(default_factory=Queue)
    """Waiting mail."""
    policy: Policy = field(default_factory=Policy)
    """Which mail is wanted."""
    abuse: Abuse = field(default_factory=Abuse)
    """Clients that behave badly."""
    junk: Junk = field(default_factory=Junk)
    """Learning and refused mail."""
    attachments: Attachments = field(default_factory=Attachments)
    """Attached files."""
    url_lists: UrlLists = field(default_factory=UrlLists)
    """Lists of linked domains."""
    rspamd: Rspamd = field(default_factory=Rspamd)
    """Another filter to ask."""
    clamav: Clamav = field(default_factory=Clamav)
    """A virus scanner to ask."""
    reports: Reports = field(default_factory=Reports)
    """Reports between mail servers."""
    greylist: Greylist = field(default_factory=Greylist)
    """Asking strangers to come back."""
    dnsbl: Dnsbl = field(default_factory=Dnsbl)
    """Block lists."""
    dnswl: Dnswl = field(default_factory=Dnswl)
    """Allow lists."""
    log: Log = field(default_factory=Log)
    """What is written about it all."""
