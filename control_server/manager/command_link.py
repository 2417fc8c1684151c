"""How a command talks to the manager's process: JSON lines over a Unix socket of the rig.

One request per connection. The answer is any number of ``{"progress": text}`` lines, then one
``{"result": ...}`` or ``{"error": ...}``. Only the manager's user can connect, and the members of
the operators' group if the rig names one.
"""

import asyncio
import grp
import json
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from capture_protocol import EnvironmentLackError, TuttiError
from control_server.errors import ServerAwayError
from control_server.manager.requests import Request

SOCKET_NAME = "manager.sock"
FOLDER_MODE, PASSAGE = 0o700, 0o011
OWN_SOCKET_MODE, SHARED_SOCKET_MODE = 0o600, 0o660
_REQUEST: TypeAdapter[Any] = TypeAdapter(Request)
_log = logging.getLogger(__name__)

Progress = Callable[[str], None]
Handler = Callable[[Any, Progress], Awaitable[BaseModel]]
"""Carries out a request, telling its progress."""


class RemoteError(TuttiError):
    """An error that happened in the manager's process."""

    def __init__(self, message: str, *, hint: str, exit_code: int) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


def make_runtime(runtime: Path, operators: str) -> None:
    """Make the runtime folder; operators may pass through it to the socket."""
    runtime.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    found = runtime.stat()
    if operators and found.st_uid == os.getuid():
        runtime.chmod(stat.S_IMODE(found.st_mode) | PASSAGE)


async def open_command_server(runtime: Path, operators: str, handler: Handler) -> asyncio.Server:
    """Answer commands on the rig's socket; the caller holds the manager's lock.

    Args:
        runtime: the socket's folder.
        operators: group that may connect; empty: only this process's user.
        handler: carries the commands out.

    Raises:
        EnvironmentLackError: there is no such group, or this user is no member of it.
    """
    with socket_path(runtime) as path:
        Path(path).unlink(missing_ok=True)  # left by a manager that was killed
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        Path(path).chmod(OWN_SOCKET_MODE)
        if operators:
            _share(Path(path), operators)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _answer(reader, writer, handler)
        except ConnectionError:
            _log.info("a command went away before its answer")
        finally:
            writer.close()

    return await asyncio.start_unix_server(answer, sock=listener)


def call(runtime: Path, request: BaseModel, progress: Progress) -> dict[str, Any]:
    """Send a request and wait for its result, as JSON.

    Raises:
        ServerAwayError: no manager answers, or it ended before it answered.
        TuttiError: what went wrong there, with its exit code.
    """
    with _connected(runtime) as connection:
        connection.sendall(request.model_dump_json().encode() + b"\n")
        with connection.makefile("r", encoding="utf-8") as lines:
            for line in lines:
                answer = json.loads(line)
                if "progress" in answer:
                    progress(answer["progress"])
                elif "error" in answer:
                    raise RemoteError(**answer["error"])
                else:
                    result: dict[str, Any] = answer["result"]
                    return result
    raise ServerAwayError(
        "the manager's process ended before it answered",
        hint="a running session goes on; look at it with: manager status",
    )


def is_served(runtime: Path) -> bool:
    """Whether a manager answers on the rig's socket."""
    try:
        with _connected(runtime):
            return True
    except ServerAwayError:
        return False


def _share(path: Path, operators: str) -> None:
    try:
        group = grp.getgrnam(operators).gr_gid
        if path.stat().st_gid != group:  # a service's socket has it, and may not be chowned
            os.chown(path, -1, group)
    except (KeyError, PermissionError) as error:
        reason = "does not exist" if isinstance(error, KeyError) else "is not the manager's"
        raise EnvironmentLackError(
            f"server.operators_group: the group {operators} {reason}",
            hint=f"sudo groupadd --system {operators}; let the manager's user be a member of it",
        ) from error
    path.chmod(SHARED_SOCKET_MODE)


@contextmanager
def socket_path(runtime: Path) -> Iterator[str]:
    """The socket's path, short enough for `sun_path` (108 bytes) however deep the folder lies."""
    handle = os.open(runtime, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{SOCKET_NAME}"
    finally:
        os.close(handle)


@contextmanager
def _connected(runtime: Path) -> Iterator[socket.socket]:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connection:
        try:
            with socket_path(runtime) as path:
                connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise ServerAwayError("the manager's process is not running") from error
        except PermissionError as error:
            raise EnvironmentLackError(
                "you may not give this rig's manager commands",
                hint="ask to be made a member of its group: server.operators_group in rig.toml",
            ) from error
        yield connection


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler
) -> None:
    line = await reader.readline()
    if not line:
        return

    def say(answer: dict[str, Any]) -> None:
        if not writer.is_closing():
            writer.write(json.dumps(answer).encode() + b"\n")

    try:
        request = _REQUEST.validate_json(line)
        result = await handler(request, lambda text: say({"progress": text}))
        say({"result": result.model_dump(mode="json")})
    except ValidationError as error:
        text = f"unreadable request: {error.errors(include_url=False)[0]['msg']}"
        say({"error": {"message": text, "hint": "manager versions differ", "exit_code": 2}})
    except TuttiError as error:
        details = {"message": str(error), "hint": error.hint, "exit_code": error.exit_code}
        say({"error": details})
    except OSError as error:
        text = f"{error.strerror}: {error.filename or 'the storage'}"
        say({"error": {"message": text, "hint": "see manager status", "exit_code": 4}})
    await writer.drain()
