"""Who may post to a list: a logged-in account, or the author of outside mail when SPF or DKIM prove its domain.

What an envelope or a From field merely claims counts for nothing: lists are where forged senders do most harm.
"""

from __future__ import annotations

from mailbox_app.accounts.addresses import canonical
from mailbox_app.accounts.interface import Directory
from mailbox_app.accounts.model import Account, Alias, Post
from mailbox_app.mailauth.results import AuthResults, Result
from mailbox_app.proto.address import parse_address_list
from mailbox_app.proto.address_list import AUTHOR_BYTES
from mailbox_app.proto.header import Header

_WHO = {
    Post.MEMBERS: "its members",
    Post.POSTERS: "certain people",
    Post.DOMAIN: "addresses of its own domain",
    Post.ANYONE: "everybody",
}


def refusal_text(alias: Alias) -> str:
    """What somebody hears who may not post."""
    return f"Only {_WHO[alias.post]} may post to this list, and this message does not prove that it comes from there"


def account_may_post(directory: Directory, alias: Alias, account: Account) -> bool:
    """Whether a logged-in account may."""
    if alias.post is Post.ANYONE or (alias.owner and directory.owns(account, alias.owner)):
        return True
    if alias.post is Post.DOMAIN:
        return account.ref.domain == _domain_of(alias.address)
    if alias.post is Post.POSTERS:
        return any(directory.owns(account, poster) for poster in alias.posters)
    return any(member.account_id == account.account_id for member in directory.members(alias).accounts)


def author_may_post(directory: Directory, alias: Alias, author: str) -> bool:
    """Whether the proven author of outside mail may; "" is nobody."""
    if alias.post is Post.ANYONE:
        return True
    if not author:
        return False
    name = "@".join(canonical(author))
    here = directory.resolve(author)
    if name == alias.owner or (
        here.is_local_domain
        and any(
            account_may_post(directory, alias, account) for account in here.accounts if directory.owns(account, author)
        )
    ):
        return True
    if alias.post is Post.DOMAIN:
        return here.is_local_domain and _domain_of(here.canonical) == _domain_of(alias.address)
    if alias.post is Post.POSTERS:
        return name in alias.posters
    return any("@".join(canonical(member)) == name for member in directory.members(alias).outside)


def proven_author(header: Header, auth: AuthResults | None) -> str:
    """The one From address whose domain DMARC, an aligned signature or an aligned SPF proves; "" otherwise."""
    if auth is None or header.count(b"from") != 1:
        return ""
    proofs = [each.domain for each in auth.dkim if each.result is Result.PASS and not each.body_limited]
    if auth.spf.result is Result.PASS:
        proofs.append(auth.spf.domain)
    if auth.dmarc.result is Result.PASS:
        proofs.append(auth.dmarc.domain)
    if not proofs:
        return ""
    value = header.all(b"from")[0]
    authors = parse_address_list(value) if len(value) <= AUTHOR_BYTES else ()
    if len(authors) != 1:
        return ""
    localpart = (authors[0].localpart or b"").decode("utf-8", "replace")
    domain = canonical(f"x@{(authors[0].domain or b'').decode('utf-8', 'replace')}")[1]
    if not localpart or not domain:
        return ""
    return f"{localpart}@{domain}" if any(canonical(f"x@{proof}")[1] == domain for proof in proofs) else ""


def _domain_of(address: str) -> str:
    return address.rpartition("@")[2]
