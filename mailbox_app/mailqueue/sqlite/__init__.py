"""The queue in a database file of its own, the default: `backend` is the whole, `schema` its tables."""
