"""Methods `domain.*`: the domains whose mail ends here, and the DNS records they need."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from mailbox_app.accounts.model import DkimKey, Domain, KeyState
from mailbox_app.control.context import ControlContext
from mailbox_app.control.dns_check import compare
from mailbox_app.control.schema import Call, Method, NoParams, Params
from mailbox_app.events.hints import DIRECTORY_TOPIC
from mailbox_app.policy.report_addresses import report_address
from mailbox_app.proto.domain_names import u_labels
from mailbox_app.proto.plain_text import clean


class DomainName(Params):
    """Which domain."""

    name: str


class NewDomain(DomainName, kw_only=True):
    """A domain; `alias_of`: the one of ours that it stands for."""

    alias_of: str = ""


class DomainSeparators(DomainName, kw_only=True):
    """What stands between a name and its detail; empty: nothing does; null: as the configuration says."""

    separators: str | None = None


class DomainView(Struct):
    """One domain."""

    name: str
    accounts: int
    aliases: int
    dkim_selectors: list[str]
    created_at: datetime
    unicode_name: str = ""
    """As people write it; the same as `name` for most."""
    alias_of: str = ""
    separators: str | None = None


class Domains(Struct):
    """All domains, by name."""

    domains: list[DomainView]


class Record(Struct):
    """One DNS record to publish."""

    type: str
    name: str
    value: str
    purpose: str


class CheckedRecord(Struct):
    """A record with what DNS says: ok, differs, missing, or unknown when DNS could not be asked."""

    type: str
    name: str
    value: str
    purpose: str
    state: str
    found: list[str]


class CheckedRecords(Struct):
    """`ok`: all of them are."""

    ok: bool
    records: list[CheckedRecord]


class Records(Struct):
    """Records to publish."""

    records: list[Record]


async def add(context: ControlContext, call: Call, params: NewDomain) -> DomainView:
    """Mail for the domain ends here from now on."""
    call.object = params.name
    view = _view(await context.offload.run(context.directory.add_domain, params.name, params.alias_of))
    context.bus.publish(DIRECTORY_TOPIC)
    call.object, call.after = view.name, view
    return view


async def separators(context: ControlContext, call: Call, params: DomainSeparators) -> DomainView:
    """How details of addresses are told apart in the domain from now on."""
    call.object = params.name

    def run() -> DomainView:
        call.before = _view(context.directory.domain(params.name))
        return _view(context.directory.set_separators(params.name, params.separators))

    call.after = view = await context.offload.run(run)
    context.bus.publish(DIRECTORY_TOPIC)
    call.object = view.name
    return view


async def remove(context: ControlContext, call: Call, params: DomainName) -> DomainView:
    """Mail for the domain is refused from now on; its signing keys are destroyed."""
    call.object = params.name
    view = _view(await context.offload.run(context.directory.remove_domain, params.name))
    context.bus.publish(DIRECTORY_TOPIC)
    call.object, call.before = view.name, view
    return view


async def list_all(context: ControlContext, _call: Call, _params: NoParams) -> Domains:
    """All domains."""
    return Domains([_view(domain) for domain in await context.offload.run(context.directory.domains)])


async def show(context: ControlContext, _call: Call, params: DomainName) -> DomainView:
    """One domain."""
    return _view(await context.offload.run(context.directory.domain, params.name))


async def dns(context: ControlContext, _call: Call, params: DomainName) -> Records:
    """Every record the domain needs in the DNS."""
    domain = await context.offload.run(context.directory.domain, params.name)
    keys = list(await context.offload.run(context.directory.all_dkim_keys, domain.name))
    others = [each.name for each in await context.offload.run(context.directory.domains) if each.name != domain.name]
    reports = context.config.reports
    return Records(
        [
            *records_for(
                domain.name,
                context.config.server.hostname,
                keys,
                pop3=bool(context.config.listen.pop3s),
                managesieve=bool(context.config.listen.managesieve),
                reports_to=report_address(reports, domain.name),
            ),
            *report_leave(domain.name, others if report_address(reports, "").endswith(f"@{domain.name}") else []),
        ]
    )


async def check_dns(context: ControlContext, call: Call, params: DomainName) -> CheckedRecords:
    """The same records, compared with what DNS says now."""
    wanted = (await dns(context, call, params)).records
    compared = await compare(context.resolver, wanted)
    records = [
        CheckedRecord(each.type, each.name, each.value, each.purpose, state, [clean(text) for text in found])
        for each, (state, found) in zip(wanted, compared, strict=True)
    ]
    return CheckedRecords(all(each.state == "ok" for each in records), records)


def records_for(
    domain: str,
    hostname: str,
    keys: list[DkimKey],
    *,
    pop3: bool = False,
    managesieve: bool = False,
    reports_to: str = "",
) -> list[Record]:
    """MX, SPF, DKIM, DMARC, TLS reports and the SRV records of RFC 6186, RFC 8314 and RFC 5804. `reports_to`: where others
    report; "": the domain's postmaster."""
    host = f"{hostname.rstrip('.')}."
    reports_to = reports_to or f"postmaster@{domain}"
    own_name = (
        [
            # RFC 7208 2.4: reports have no sender, so receivers ask about the name in EHLO
            Record("TXT", host, "v=spf1 a -all", "SPF of the server itself: for the reports it sends")
        ]
        if host.endswith(f".{domain}.")
        else []
    )
    return [
        Record("MX", f"{domain}.", f"10 {host}", "where mail for the domain goes"),
        Record("TXT", f"{domain}.", "v=spf1 mx -all", "SPF: only this server sends for the domain"),
        *own_name,
        *dkim_records(keys),
        Record(
            "TXT", f"_dmarc.{domain}.", f"v=DMARC1; p=quarantine; rua=mailto:{reports_to}",
            "DMARC: what others do with forgeries, and where they report",
        ),
        Record("TXT", f"_smtp._tls.{domain}.", f"v=TLSRPTv1; rua=mailto:{reports_to}", "reports of failed TLS"),
        Record("SRV", f"_imaps._tcp.{domain}.", f"0 1 993 {host}", "mail programs find IMAP"),
        *([Record("SRV", f"_pop3s._tcp.{domain}.", f"10 1 995 {host}", "mail programs find POP3")] if pop3 else []),
        *([Record("SRV", f"_sieve._tcp.{domain}.", f"0 1 4190 {host}", "mail programs find ManageSieve")] if managesieve else []),
        Record("SRV", f"_submissions._tcp.{domain}.", f"0 1 465 {host}", "mail programs find submission"),
        Record("SRV", f"_submission._tcp.{domain}.", f"10 1 587 {host}", "the same with STARTTLS"),
    ]  # fmt: skip


def report_leave(domain: str, others: Sequence[str]) -> list[Record]:
    """That this domain takes reports about others. RFC 9990 4."""
    return [
        Record("TXT", f"{other}._report._dmarc.{domain}.", "v=DMARC1", f"reports about {other} may come here")
        for other in others
    ]


def dkim_records(keys: list[DkimKey]) -> list[Record]:
    """The public keys of keys that sign, shall sign, or signed lately."""
    return [
        Record("TXT", f"{key.selector}._domainkey.{key.domain}.", key.public_txt, _key_purpose(key))
        for key in keys
        if key.state is not KeyState.RETIRED
    ]


def _key_purpose(key: DkimKey) -> str:
    purpose = f"DKIM public key ({key.algorithm})"
    if key.state is KeyState.PREPARED:
        return f"{purpose}, which signs once this record is seen everywhere"
    if key.state is KeyState.RETIRING:
        return f"{purpose}, which signs no more; keep this record while mail signed with it is under way"
    return purpose


def _view(domain: Domain) -> DomainView:
    return DomainView(
        domain.name,
        domain.account_count,
        domain.alias_count,
        list(domain.dkim_selectors),
        domain.created_at,
        u_labels(domain.name),
        domain.alias_of,
        domain.separators,
    )


METHODS = (
    Method("domain.add", NewDomain, DomainView, add, "Take mail for a domain.", changes=True),
    Method(
        "domain.separators", DomainSeparators, DomainView, separators, "What parts names and details.", changes=True
    ),
    Method("domain.remove", DomainName, DomainView, remove, "Take no more mail for a domain.", changes=True),
    Method("domain.list", NoParams, Domains, list_all, "All domains."),
    Method("domain.show", DomainName, DomainView, show, "One domain."),
    Method("domain.dns", DomainName, Records, dns, "The DNS records a domain needs."),
    Method("domain.check_dns", DomainName, CheckedRecords, check_dns, "The records a domain needs and has."),
)
