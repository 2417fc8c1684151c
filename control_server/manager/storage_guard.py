"""Keeps the storage's reserve free: no recording may fill the disk to its last byte.

Below the reserve no connection is accepted, and here the FFmpegs that run are asked to close their
files. Their frames are durable then, and there is room left for event logs and the manifest. The
agents keep what follows in their spools, and go on when room is made.
"""

import asyncio
import logging
from collections.abc import Iterable

from control_server.rig.place import RigPlace
from control_server.segmenter.admission import has_room
from control_server.segmenter.part_run import end_part
from control_server.session.run import SessionRun

LOOK_S = 1.0
_log = logging.getLogger(__name__)


async def guard_storage(place: RigPlace, runs: "dict[int, SessionRun]") -> None:
    """Watch the free space for as long as the server runs."""
    while True:
        await asyncio.sleep(LOOK_S)
        if not has_room(place.storage, place.config.server.reserve_mb):
            end_streams(runs.values())


def end_streams(runs: Iterable[SessionRun]) -> None:
    """Ask every FFmpeg of these sessions to close its file."""
    for run in runs:
        for camera, lives in run.intake.lives.items():
            if lives and end_part(run.keeper.folder, camera):
                _log.warning("camera %s: the storage is full, its stream is ended", camera)
