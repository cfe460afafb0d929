"""Parsers and composers: bytes in, values out, no input or output anywhere in this package.

Nothing here opens a file, asks DNS or waits, so everything can be tested with plain values and fuzzed at full speed.
Readers of mail content are tolerant (mail is what strangers send; a listing must never fail on it); readers of
commands are strict and raise `ProtocolError`.

Where to look:

* `address`, `header`, `dates`: addresses and paths, header fields with their byte offsets, the two date formats.
* `parameters`, `mime`, `bodystructure`, `envelope`, `message`: the one pass over a message that yields what IMAP lists;
  `MessageScanner` is the door, `PartTable` finds the byte range of a part later.
* `dsn`, `authres`: delivery reports and Authentication-Results fields, composed.
* `smtp`, `imap`: the two protocols' commands, replies and framing.
"""
