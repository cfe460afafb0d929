"""Who exists here: domains, accounts, aliases, signing keys, and how a login is checked.

* `interface.py` is what the rest of the server sees: `Directory` (reading) and `Authenticator`.
* `directory.py` is the one implementation of the directory over `directory.db`; `tables.py` holds all its SQL and
  `addresses.py` says what an address of ours may look like. Reads are kept in memory until another commit makes them old.
* `passwords.py` is Argon2id and the rules for new passwords; `login.py` checks logins for every protocol at the same cost for
  known and unknown names; `login_guard.py` counts failures per remote address.

Private DKIM keys are rows of `directory.db` (mode 0600), not files: one thing to back up, changed in the same transaction.
Account ids are never used twice, so mail, caches and audit entries of a removed account never meet a new one.
"""
