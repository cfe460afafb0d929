"""App passwords: made by the server, one for each program, good for some protocols only, revoked alone.

Five groups of four letters. The first finds the row, the other sixteen are the secret (73 bits), so that a login costs one hash
however many app passwords there are. Written without the dashes or in capitals it is the same password.
"""

from __future__ import annotations

import re
import secrets

from mailbox_app.accounts.tables import Credential

PROTOCOLS = ("imap", "smtp", "pop3", "managesieve", "dav")
SELECTOR_LETTERS = 4
_LETTERS = "abcdefghijkmnpqrstuvwxyz"
"""Without l and o, which are taken for 1 and 0."""
_COUNT = 20
_FORM = re.compile(rf"[{_LETTERS}]{{{_COUNT}}}")
_ALLOWED_BY = {"submission": "smtp", "submissions": "smtp"}


def new_app_password() -> str:
    """In the form it is hashed in."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_COUNT))


def shown(form: str) -> str:
    """As it is shown, once."""
    return "-".join(form[start : start + 4] for start in range(0, _COUNT, 4))


def form_of(prepared: str) -> str:
    """The form that is hashed, of something that looks like an app password; empty for everything else."""
    plain = prepared.replace("-", "").replace(" ", "").lower()
    return plain if _FORM.fullmatch(plain) else ""


def stored_hash(credential: Credential, prepared: str, protocol: str) -> tuple[str, str]:
    """(hash, password) to compare: an app password that is good for this protocol, or the account's own."""
    form = form_of(prepared)
    if form:
        wanted = _ALLOWED_BY.get(protocol, protocol)
        for each in credential.app_passwords:
            if each.selector == form[:SELECTOR_LETTERS] and wanted in each.protocols:
                return each.password_hash, form
    return credential.password_hash, prepared
