"""What the policy remembers: one file per subject, a Protocol with its rules and the form in `state.db` behind it.

All processes share one truth there; where several nodes act as one, the forms in `shared/` keep it in Redis. Trouble with either
is logged and answered with what is harmless: nothing is banned, nothing is known, nothing is counted. It costs no session and no
message.
"""
