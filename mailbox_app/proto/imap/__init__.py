"""IMAP without I/O: bytes in, values out.

`framing` cuts a byte stream into commands (with their literals) and streams big literals out in pieces; `grammar` is a
cursor over one command; `fetch` and `search` turn the two rich commands into plain trees; `sequence` holds sequence
sets; `mailbox_name` converts modified UTF-7; `response` renders what goes back. Every bound is a constructor argument
or a named constant with its reason. Malformed input raises `ProtocolError` and nothing else.
"""
