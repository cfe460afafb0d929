"""SQLite, Redis and the way off the event loop.

`sqlite.Database` is how every database file of this server is opened: WAL, explicit transactions, numbered migrations,
errors that know whether trying again helps. `redis.RedisLink` is the one way to a Redis that several nodes share; it never
waits long for it. `offload.Offload` is the only place that runs synchronous store, queue and directory calls in threads;
`offload.GroupCommit` lets calls that wait at the same moment share one commit, which is where the speed of durable deliveries
comes from. Nothing here knows what is stored.
"""
