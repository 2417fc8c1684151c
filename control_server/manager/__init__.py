"""The manager's process: what it does for the commands, and how they reach it."""
