"""Sieve: the language account owners and administrators write their mail rules in. RFC 5228 and what extends it.

A script is read once (`script.compile_script`: `lexer`, `grammar`, then `compiler` turns the tree into closures) and run for each
message (`script.run`). A run only decides: it asks its `context` and gives back `actions` in order, edits of the header and
the steps it took. Storing, sending and answering are the caller's.

A word of the language (a command, a test, a tag) is a row of an extension; each extension is one file of `extensions`, one
line in its tuple. What a script does not `require` it cannot use, and learns so with line and column.

Reading raises `SieveError` and nothing else, whatever the bytes. A run never raises: what goes wrong is in `Outcome.error`, and
the message is then kept. Each run has a budget of steps and of seconds that also covers what happens inside one test:
patterns and regular expressions take time in proportion to the text.
"""
