"""One stream connection under systemd: the handshake on stdin, then this process becomes FFmpeg.

Run by ``segmenter@.service``, whose socket unit accepts one connection per instance:
``python -m control_server.segmenter --rig /etc/tutti/rig.toml``.
"""

import argparse
import os
import socket
import sys
from pathlib import Path

from capture_protocol import InputError, TuttiError
from capture_protocol.handshake import TIMEOUT_S, HandshakeError
from control_server.refusals import REFUSALS_NAME, RefusalCounts
from control_server.rig.place import RigPlace, find_rig
from control_server.segmenter.admission import Admission, Desk, Flow, RefusedError, shake_hands
from control_server.segmenter.ffmpeg_command import find_ffmpeg
from control_server.segmenter.part_run import PartRun, open_part, prepare_socket


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns an exit code only if no FFmpeg was started."""
    parser = argparse.ArgumentParser(prog="control_server.segmenter", description=__doc__)
    parser.add_argument("--rig", type=Path, default=None, help="rig.toml or its folder")
    try:
        _serve(find_rig(parser.parse_args(arguments).rig))
    except RefusedError as refused:
        print(refused, file=sys.stderr)
        return 0
    except TuttiError as error:
        print(f"segmenter: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _serve(place: RigPlace) -> None:
    connection = _stdin_socket()
    refusals = RefusalCounts(place.runtime / REFUSALS_NAME)
    peer = connection.getpeername()
    camera = connection.getsockname()[1] - place.config.server.stream_port
    ffmpeg = find_ffmpeg(place.config.segmenter.ffmpeg)
    try:
        prepare_socket(connection)
        admission = drive(connection, shake_hands(Desk(place, camera, refusals)))
    except RefusedError:
        raise
    except (OSError, HandshakeError) as error:
        raise HandshakeError(f"{peer[0]} broke off the handshake: {error}") from error
    with open_part(ffmpeg, admission, f"{peer[0]}:{peer[1]}") as run:
        _become_ffmpeg(run)


def _stdin_socket() -> socket.socket:
    try:
        connection = socket.socket(fileno=os.dup(sys.stdin.fileno()))
        connection.getpeername()
    except OSError as error:
        raise InputError(
            "stdin is no stream connection", hint="this program is started by segmenter@.socket"
        ) from error
    return connection


def drive(connection: socket.socket, flow: Flow) -> Admission:
    """Run a handshake on a blocking socket, reading not one byte more than it asks for.

    Raises:
        TimeoutError: the peer is silent.
        HandshakeError: the peer hung up, or was refused.
    """
    connection.settimeout(TIMEOUT_S)
    step = next(flow)
    try:
        while True:
            if isinstance(step, int):
                step = flow.send(_read_exactly(connection, step))
            else:
                connection.sendall(step)
                step = next(flow)
    except StopIteration as done:
        admission: Admission = done.value
        return admission
    finally:
        flow.close()


def _read_exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise HandshakeError("the peer hung up during the handshake")
        data += more
    return data


def _become_ffmpeg(run: PartRun) -> None:
    """Replace this process: stdin stays the connection, the lock stays open."""
    run.note_process(os.getpid())
    log = os.open(run.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, sys.stderr.fileno())
    os.set_blocking(sys.stdin.fileno(), True)
    os.set_inheritable(run.lock, True)
    os.chdir(run.folder)
    os.execv(run.arguments[0], run.arguments)  # noqa: S606 - an argument list, no shell


if __name__ == "__main__":
    sys.exit(main())
