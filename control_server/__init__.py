"""Runs on the server: the manager, its sessions and their audit."""
