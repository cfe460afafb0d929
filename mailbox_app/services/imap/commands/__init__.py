"""The command table: one tuple of rows, one file per verb or small family of verbs."""

from __future__ import annotations

from mailbox_app.services.imap.command import AnyCommand
from mailbox_app.services.imap.commands.acl import DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS, SETACL
from mailbox_app.services.imap.commands.append import APPEND
from mailbox_app.services.imap.commands.authenticate import AUTHENTICATE
from mailbox_app.services.imap.commands.cancel_update import CANCELUPDATE
from mailbox_app.services.imap.commands.capability import CAPABILITY
from mailbox_app.services.imap.commands.compress import COMPRESS
from mailbox_app.services.imap.commands.copying import COPY, MOVE
from mailbox_app.services.imap.commands.enable import ENABLE
from mailbox_app.services.imap.commands.expunge import EXPUNGE
from mailbox_app.services.imap.commands.fetch import FETCH
from mailbox_app.services.imap.commands.identity import ID
from mailbox_app.services.imap.commands.idle import IDLE
from mailbox_app.services.imap.commands.listing import LIST, LSUB
from mailbox_app.services.imap.commands.login import LOGIN
from mailbox_app.services.imap.commands.logout import LOGOUT
from mailbox_app.services.imap.commands.mailboxes import CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE
from mailbox_app.services.imap.commands.metadata import GETMETADATA, SETMETADATA
from mailbox_app.services.imap.commands.multi_search import ESEARCH
from mailbox_app.services.imap.commands.namespace import NAMESPACE
from mailbox_app.services.imap.commands.noop import CHECK, NOOP
from mailbox_app.services.imap.commands.notify import NOTIFY
from mailbox_app.services.imap.commands.quota import GETQUOTA, GETQUOTAROOT, SETQUOTA
from mailbox_app.services.imap.commands.replace import REPLACE
from mailbox_app.services.imap.commands.search import SEARCH
from mailbox_app.services.imap.commands.selection import CLOSE, EXAMINE, SELECT, UNSELECT
from mailbox_app.services.imap.commands.sort import SORT, THREAD
from mailbox_app.services.imap.commands.starttls import STARTTLS
from mailbox_app.services.imap.commands.status import STATUS
from mailbox_app.services.imap.commands.store import STORE
from mailbox_app.services.imap.commands.unauthenticate import UNAUTHENTICATE

COMMANDS: tuple[AnyCommand, ...] = (
    CAPABILITY,
    NOOP,
    LOGOUT,
    ID,
    STARTTLS,
    AUTHENTICATE,
    LOGIN,
    ENABLE,
    COMPRESS,
    UNAUTHENTICATE,
    SELECT,
    EXAMINE,
    CREATE,
    DELETE,
    RENAME,
    SUBSCRIBE,
    UNSUBSCRIBE,
    LIST,
    LSUB,
    NAMESPACE,
    STATUS,
    GETQUOTA,
    GETQUOTAROOT,
    SETQUOTA,
    GETMETADATA,
    SETMETADATA,
    SETACL,
    DELETEACL,
    GETACL,
    LISTRIGHTS,
    MYRIGHTS,
    NOTIFY,
    APPEND,
    IDLE,
    CHECK,
    CLOSE,
    UNSELECT,
    EXPUNGE,
    SEARCH,
    ESEARCH,
    SORT,
    THREAD,
    CANCELUPDATE,
    FETCH,
    STORE,
    REPLACE,
    COPY,
    MOVE,
)
