"""A session on disk while it is made: parts, durable slots, event logs, table, seal."""
