"""The Mailbox server: one executable that receives, stores, serves, queues and sends mail."""
