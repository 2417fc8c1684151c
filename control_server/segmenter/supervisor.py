"""Who answers the cameras' ports and runs FFmpeg."""

from typing import Protocol


class Supervisor(Protocol):
    """Keeps one listening port per camera, for as long as the rig is served.

    Ports are never closed between parts, so that a camera that reconnects always finds one.
    """

    async def open(self) -> None:
        """Answer every camera's port from now on.

        Raises:
            EnvironmentLackError: a port cannot be had.
        """

    async def close(self) -> None:
        """Give the ports back; FFmpegs that run go on until their streams end."""
