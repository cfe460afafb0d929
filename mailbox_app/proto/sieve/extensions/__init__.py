"""The extensions of the language, one file each. To add one: a new file with an `EXTENSION`, and its line here."""

from mailbox_app.proto.sieve.extensions import core, fileinto, imap4flags
from mailbox_app.proto.sieve.words import Extension

EXTENSIONS: tuple[Extension, ...] = (
    core.EXTENSION,
    fileinto.EXTENSION,
    imap4flags.EXTENSION,
)
