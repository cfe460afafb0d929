"""Who really sent it: SPF, DKIM, ARC, DMARC and iprev of mail that comes in; DKIM signatures and ARC seals for mail that leaves.

`SenderChecks` runs the checks on one message under one deadline and reports typed results (`results`) together with the
Authentication-Results field (`report`); it decides nothing (that is `policy`). Trouble of any kind is the result
`temperror`. SPF and iprev can be started alone, as soon as the sender is named, and handed in later. `DkimSigner` signs with a
domain's RSA and Ed25519 keys; `ArcSealer` seals what is passed on. Bodies are read once in pieces, in constant memory, by
`canonical.BodyHash`, for signing and for all signatures that are verified.

DNS is only asked through the injected `net.resolver.Resolver`; nothing here blocks a loop or holds the interpreter long.
"""
