"""The control methods, one file per subject; each ends in its `METHODS` tuple, and this one lists them all."""

from __future__ import annotations

from mailbox_app.control.methods import (
    alias,
    app_password,
    audit,
    ban,
    config,
    dkim,
    domain,
    greylist,
    junk,
    policy,
    queued_mail,
    rejects,
    report,
    retained,
    sieve,
    status,
    store,
    trace,
    user,
    user_mail,
)
from mailbox_app.control.schema import Method

METHODS: tuple[Method, ...] = (
    *status.METHODS,
    *domain.METHODS,
    *user.METHODS,
    *user_mail.METHODS,
    *app_password.METHODS,
    *retained.METHODS,
    *alias.METHODS,
    *sieve.METHODS,
    *dkim.METHODS,
    *queued_mail.METHODS,
    *config.METHODS,
    *greylist.METHODS,
    *ban.METHODS,
    *junk.METHODS,
    *policy.METHODS,
    *rejects.METHODS,
    *audit.METHODS,
    *store.METHODS,
    *trace.METHODS,
    *report.METHODS,
)
