"""The project's own exceptions: every error a user may meet says what to do about it."""


class TuttiError(Exception):
    """Root of all errors that are reported to a user as one line and an exit code.

    ``hint`` names the next step. Exit codes are stable: 2 bad input or configuration,
    3 the rig or a remote part failed, 4 the environment lacks something.
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class InputError(TuttiError):
    """A config, datagram, file or argument is wrong; nothing was changed."""

    exit_code = 2


class EnvironmentLackError(TuttiError):
    """The machine lacks a right, a program or a device that the command needs."""

    exit_code = 4
