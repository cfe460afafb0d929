"""The same memory in a Redis that several nodes share: one file per subject, each the second form of a Protocol in `policy/state`.

Every key begins with the configured prefix, has a bound and, where that makes sense, an expiry: strangers cannot fill the
server. What reads and then writes is one Lua script, so that two nodes never get in each other's way. The scripts make names of
keys themselves, which Redis Cluster does not allow. Trouble is answered as trouble with `state.db` is: nothing is known,
nothing is counted, nobody is banned but those known before.
"""
