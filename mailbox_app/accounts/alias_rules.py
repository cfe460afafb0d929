"""What an alias or a list may be: checks of what an operator adds. They raise `account.bad_*` with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mailbox_app.accounts.addresses import canonical, check_alias_address, check_target
from mailbox_app.accounts.model import Alias, AliasKind, Post
from mailbox_app.errors import AccountError

_MAX_TARGETS = 500
_MAX_DESCRIPTION = 500
_LIST_SUFFIXES = ("-bounces", "-owner")


@dataclass(frozen=True, slots=True)
class AliasSettings:
    """All of an alias but its address and targets; None: as it is, or the default of a new one."""

    kind: AliasKind | None = None
    description: str | None = None
    enabled: bool | None = None
    members_may_send: bool | None = None
    post: Post | None = None
    posters: Sequence[str] | None = None
    owner: str | None = None
    max_bytes: int | None = None


def check_targets(targets: Sequence[str]) -> tuple[str, ...]:
    """The targets, each once."""
    checked = tuple(dict.fromkeys(check_target(target) for target in targets if target.strip()))
    if not 1 <= len(checked) <= _MAX_TARGETS:
        raise AccountError("account.bad_targets", f"an alias leads to 1 to {_MAX_TARGETS} addresses")
    return checked


def checked_alias(
    address: str, targets: Sequence[str], settings: AliasSettings, before: Alias | None, now: datetime
) -> Alias:
    """The alias these words describe; what they leave out is as `before`."""
    old = before or Alias(check_alias_address(address), (), now)
    kind = settings.kind or old.kind
    is_list = kind is AliasKind.LIST
    post = settings.post or (old.post if old.is_list or not is_list else Post.MEMBERS)
    posters = old.posters if settings.posters is None else tuple(dict.fromkeys(map(_named, settings.posters)))
    may_send = settings.members_may_send
    alias = Alias(
        old.address,
        check_targets(targets) if targets else old.targets,
        old.created_at,
        kind,
        _description(old.description if settings.description is None else settings.description),
        old.enabled if settings.enabled is None else settings.enabled,
        (old.members_may_send if old.kind is kind else not is_list) if may_send is None else may_send,
        post if is_list else Post.ANYONE,
        posters if is_list else (),
        (old.owner if settings.owner is None else _named(settings.owner) if settings.owner else "") if is_list else "",
        (old.max_bytes if settings.max_bytes is None else settings.max_bytes) if is_list else 0,
    )
    _check(alias, settings)
    return alias


def _check(alias: Alias, settings: AliasSettings) -> None:
    if not alias.targets:
        check_targets(())
    if not alias.is_list:
        if settings.post or settings.posters or settings.owner or settings.max_bytes:
            raise AccountError(
                "account.not_a_list",
                f"{alias.address} is no list: who may post, the owner and a size belong to lists",
                fields={"remedy": "Make it one with --list."},
            )
        return
    localpart = alias.address.rpartition("@")[0]
    if not localpart:
        raise AccountError("account.bad_list", "a catch-all cannot be a list")
    if localpart.endswith(_LIST_SUFFIXES):
        raise AccountError("account.bad_list", "a list's name cannot end in -bounces or -owner: such are its own")
    if alias.post is Post.POSTERS and not alias.posters:
        raise AccountError("account.bad_list", "a list for named posters needs at least one")
    if not 0 <= alias.max_bytes < 1 << 40:
        raise AccountError(
            "account.bad_list", "a list's largest message is a number of bytes, 0 for the server's limit"
        )


def _named(text: str) -> str:
    return "@".join(canonical(check_target(text)))


def _description(text: str) -> str:
    if len(text) > _MAX_DESCRIPTION or not (text == "" or text.isprintable()):
        raise AccountError(
            "account.bad_description", f"a description is one line of {_MAX_DESCRIPTION} letters at most"
        )
    return text.encode("utf-8", "replace").decode()
