"""A CLOCK_REALTIME of its own for each simulated node, and the truth about it."""
