"""Which way mail takes: directly or by a smarthost, with which login, from which address; and how each way does."""
