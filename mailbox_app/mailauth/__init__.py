"""Who really sent it: SPF, DKIM and DMARC of mail that comes in, DKIM signatures for mail that goes out.

`SenderChecks` runs the three checks on one message under one deadline and reports typed results together with the
Authentication-Results field; it decides nothing (that is `policy`). Trouble of any kind is the result `temperror`.
`DkimSigner` signs with a domain's RSA and Ed25519 keys. Bodies are read once in pieces, in constant memory, by
`canonical.BodyHash`, for signing and verifying alike.

DNS is only asked through the injected `net.resolver.Resolver`; nothing here blocks a loop or holds the interpreter long.
"""
