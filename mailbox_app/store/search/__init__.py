"""The search index of an account: which messages may hold a text, asked before any message is read.

`search.db` beside the account's index holds for each different message its trigrams (every three characters in a row of
its folded text), once for the header and once for the body, and for each message of each mailbox which of these documents
it is. A text can only be in documents that have all its trigrams: those are the candidates, and who asks reads them to
be exact. Documents are contents, known by EMAILID, so moving, copying and restoring messages indexes nothing again.

`index.SearchIndex` answers and only reads. `builder.IndexBuilder` follows the mailboxes, one bounded batch at a time, in the
one process that writes search.db. The file is disposable: absent, damaged or behind, all it costs is that more messages have
to be read. `schema` and `search_queries` hold the SQL, `files` the opening.
"""
