"""Errors of the server's side; see `capture_protocol.errors` for the tree and the exit codes."""

from capture_protocol import TuttiError


class RigError(TuttiError):
    """The rig, or a part of it, did not do what was asked."""


class ServerAwayError(TuttiError):
    """The manager's process does not answer."""
