"""The control methods, one file per subject; each ends in its `METHODS` tuple, and this one lists them all."""

from __future__ import annotations

from mailbox_app.control.methods import alias, audit, config, dkim, domain, queued_mail, status, store, user
from mailbox_app.control.schema import Method

METHODS: tuple[Method, ...] = (
    *status.METHODS,
    *domain.METHODS,
    *user.METHODS,
    *alias.METHODS,
    *dkim.METHODS,
    *queued_mail.METHODS,
    *config.METHODS,
    *audit.METHODS,
    *store.METHODS,
)
