"""`manager transcode`."""

from typing import Annotated

import typer
from rich.progress import Progress

from capture_protocol import SessionFolder
from control_server.audit.cli import SessionArgument, find_session
from control_server.commands.shared import JsonOption, RigOption, console, print_json, stderr
from control_server.transcode.encoder import choose_encoder
from control_server.transcode.session import (
    Transcoded,
    is_h265,
    replace_original,
    replacement_pending,
    transcode_session,
)


def transcode(
    session: SessionArgument,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put the verified H.265 in the place of the H.264.")
    ] = False,
    crf: Annotated[int, typer.Option(min=0, max=51, help="Quality: 0 best, 51 worst.")] = 24,
    preset: Annotated[str, typer.Option(help="Speed of libx265: ultrafast … veryslow.")] = "medium",
    hardware: Annotated[bool, typer.Option(help="Use a hardware encoder if one works.")] = True,
    rig: RigOption = None,
    json: JsonOption = False,
) -> None:
    """Make H.265 of a sealed session, with all evidence, and verify it.

    Interrupted at any point, the original is whole; the same command goes on where it was.

    Example: manager transcode 42 --replace
    """
    folder = find_session(session, rig)
    if replacement_pending(folder):
        replace_original(folder)
    if is_h265(folder):
        _show({"session": str(folder.path), "already": True}, "the session is H.265 already", json)
        return
    choice = choose_encoder(crf, preset, hardware=hardware)
    with Progress(console=stderr, transient=True) as progress:
        task = progress.add_task(f"transcoding with {choice.name}", total=_frames(folder))
        done = transcode_session(folder, choice, lambda count: progress.advance(task, count))
    if replace:
        replace_original(folder)
    _show(_summary(folder, done, replaced=replace), _sentence(folder, done, replaced=replace), json)


def _frames(folder: SessionFolder) -> int | None:
    manifest = folder.read_manifest()
    return sum(entry.frames for entry in manifest.segments) if manifest else None


def _summary(folder: SessionFolder, done: Transcoded, *, replaced: bool) -> dict[str, object]:
    return {
        "session": str(folder.path),
        "h265": str(folder.path if replaced else done.folder),
        "replaced": replaced,
        "encoder": done.encoder,
        "segments": done.segments,
        "frames": done.frames,
        "bytes_before": done.bytes_before,
        "bytes_after": done.bytes_after,
        "lowest_psnr_db": done.lowest_psnr_db,
    }


def _sentence(folder: SessionFolder, done: Transcoded, *, replaced: bool) -> str:
    share = 100 * done.bytes_after / max(done.bytes_before, 1)
    where = (
        "in the place of the H.264" if replaced else f"in {done.folder.relative_to(folder.path)}/"
    )
    quality = "" if done.lowest_psnr_db is None else f", lowest PSNR {done.lowest_psnr_db:.1f} dB"
    return (
        f"{done.frames} frames verified, {share:.0f} % of the size, by {done.encoder}{quality}; "
        f"the H.265 lies {where}"
    )


def _show(summary: dict[str, object], sentence: str, json: bool) -> None:
    if json:
        print_json(summary)
    else:
        console.print(sentence)
