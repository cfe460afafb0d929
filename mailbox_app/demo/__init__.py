"""`mailbox demo`: the whole appliance on loopback, in a throw-away folder, beside a small pretend internet.

`internet` is the outside: a DNS zone and remote mail servers, one of which greylists and one is slow. `appliance` starts this very
program as a daemon and speaks to it the way people do: commands, SMTP, IMAP. `story` is the list of steps, each of
which proves something and shows the evidence; `main` runs it, or opens the console beside it on a terminal.
"""
