"""`manager audit`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from capture_protocol import InputError, SessionFolder, publish_text
from capture_protocol.session import PLAN_NAME
from control_server.audit.rebuild import rebuild_frames
from control_server.audit.report import render_report
from control_server.audit.run import Audit, run_audit
from control_server.audit.table import render_result
from control_server.commands.shared import JsonOption, RigOption, console, stderr
from control_server.rig.place import find_rig
from control_server.session.counter import session_folder

SessionArgument = Annotated[
    str, typer.Argument(help="Number of a session of this rig, or the path of a session folder.")
]


def audit(
    session: SessionArgument,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also check hashes and decode all video.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a report: one file, for a browser.")
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="First make frames.parquet anew from the video.")
    ] = False,
    rig: RigOption = None,
    json: JsonOption = False,
) -> None:
    """Prove what a session recorded, from its files alone.

    Exit code 0: it passes, 1: it fails, 2: the files cannot say.

    Example: manager audit 42 --deep --html report.html
    """
    folder = find_session(session, rig)
    with Progress(console=stderr, transient=True) as progress:
        if rebuild:
            task = progress.add_task("reading video", total=count_files(folder))
            rebuild_frames(folder, lambda _: progress.advance(task))
        task = progress.add_task("auditing", total=count_files(folder), visible=deep)
        done = run_audit(folder, deep=deep, progress=lambda _: progress.advance(task))
    if html is not None:
        _write_report(done, html)
    if json:
        print(done.result.model_dump_json(indent=1))
    else:
        console.print(render_result(done.result))
        if html is not None:
            console.print(f"report: {html.resolve()}")
    raise typer.Exit(done.result.exit_code)


def find_session(session: str, rig: Path | None) -> SessionFolder:
    """The folder of a session that was named by number or by path.

    Raises:
        InputError: there is no such session.
    """
    path = Path(session)
    if path.is_dir():
        folder = SessionFolder(path.resolve())
    elif session.isascii() and session.isdigit():
        folder = session_folder(find_rig(rig).storage, int(session))
    else:
        raise InputError(
            f"{session!r} is neither a session's number nor a folder",
            hint="list the sessions with: manager sessions",
        )
    if not folder.plan_path.is_file():
        raise InputError(
            f"there is no session in {folder.path}: {PLAN_NAME} is missing",
            hint="list the sessions with: manager sessions",
        )
    return folder


def count_files(folder: SessionFolder) -> int:
    """Segment files of all cameras."""
    return sum(len(folder.segments(camera.name)) for camera in folder.read_plan().cameras)


def _write_report(done: Audit, target: Path) -> None:
    try:
        publish_text(target, render_report(done))
    except OSError as error:
        raise InputError(
            f"the report cannot be written to {target}: {error.strerror}",
            hint="name a file in an existing folder that you may write to",
        ) from error
