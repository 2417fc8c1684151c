"""The systemd supervisor: socket units answer the ports, `manager` only starts and stops them."""

import asyncio

from capture_protocol import EnvironmentLackError
from control_server.rig.place import RigPlace


class SystemdSupervisor:
    """One ``segmenter@ADDRESS:PORT.socket`` per camera (Accept=yes)."""

    def __init__(self, place: RigPlace) -> None:
        self._units = socket_units(place)

    async def open(self) -> None:
        """See `Supervisor.open`; ports that are open already need no right to start them."""
        for unit in self._units:
            if await _systemctl("is-active", "--quiet", unit) is not None:
                await systemctl("start", unit)

    async def close(self) -> None:
        """Nothing: the sockets go on answering without the manager; systemd owns them."""


def socket_units(place: RigPlace) -> list[str]:
    """Names of the socket units of all cameras; the instance is what they listen on."""
    server = place.config.server
    return [
        f"segmenter@{server.listen}:{server.stream_port + index}.socket"
        for index, _, _ in place.config.cameras()
    ]


async def systemctl(*arguments: str) -> None:
    """Run systemctl.

    Raises:
        EnvironmentLackError: there is none, or it refuses.
    """
    said = await _systemctl(*arguments)
    if said is not None:
        raise EnvironmentLackError(
            f"systemctl {' '.join(arguments)}: {said}",
            hint="install the units of systemd/, and let the manager's user start them",
        )


async def _systemctl(*arguments: str) -> str | None:
    """What systemctl complains about, None if it succeeds."""
    try:
        process = await asyncio.create_subprocess_exec(
            "systemctl",
            "--no-ask-password",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise EnvironmentLackError(
            "systemctl is missing", hint='set segmenter.supervisor = "local" in rig.toml'
        ) from error
    _, said = await process.communicate()
    return said.decode(errors="replace").strip() if process.returncode else None
