"""What agent and server agree on."""
