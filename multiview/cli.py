"""The `multiview` command: look into sources, and read several of them together."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from capture_protocol import TuttiError, publish_text
from multiview._cli_inputs import configurations, number_of, numbers_by_camera
from multiview._cli_report import as_csv, export_rows, print_summary, probe_table, summarize
from multiview.errors import SyncConfigError
from multiview.sources import VideoMetadata
from multiview.sync import FrameSet, SetStatistics, Strategy, VideoIngestor, VideoSourceConfig
from multiview.synthetic import SceneConfig, SyntheticVideoGenerator

app = typer.Typer(
    name="multiview",
    help="Any footage on one timeline: files, and sessions recorded by this project.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Inputs = Annotated[list[str], typer.Argument(help="Video files, or folders of sessions.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Pairs = Annotated[list[str] | None, typer.Option(help="CAMERA=SECONDS, may be repeated.")]
PairsPpm = Annotated[list[str] | None, typer.Option(help="CAMERA=PPM, may be repeated.")]


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    del debug  # main() looks for it, also when an error comes before this


@app.command(epilog="Example: multiview probe cam1.mp4 cam2.mov sessions/000042")
def probe(inputs: Inputs, as_json: AsJson = False) -> None:
    """Say what sources hold: frames really there, rate, times, and anything odd."""
    found = [_probe(config) for config in configurations(inputs)]
    if as_json:
        print(json.dumps([asdict(m) | {"clock": m.clock.value} for m in found], indent=1))
    else:
        console = Console()
        console.print(probe_table(found))
        for metadata in found:
            for note in metadata.notes:
                console.print(f"{metadata.camera_id}: {note}", soft_wrap=True, highlight=False)


@app.command(epilog="Example: multiview sets a.mp4 b.mp4 --offset b=0.52 --export sets.csv")
def sets(
    inputs: Inputs,
    offset: Pairs = None,
    drift: PairsPpm = None,
    times: Annotated[
        Path | None, typer.Option(help="CSV with cam_id, frame_index, frame_time (seconds).")
    ] = None,
    rate: Annotated[str, typer.Option(help="lowest, highest, or sets per second.")] = "lowest",
    reference: Annotated[str | None, typer.Option(help="Camera that sets the pace.")] = None,
    tolerance: Annotated[float, typer.Option(help="Largest distance in milliseconds.")] = 33.0,
    strategy: Annotated[
        Strategy, typer.Option(help="Where a frame is missing.")
    ] = Strategy.PARTIAL,
    min_cameras: Annotated[int, typer.Option(help="Fewest cameras in a set.")] = 2,
    start: Annotated[float | None, typer.Option(help="Seconds on the timeline.")] = None,
    end: Annotated[float | None, typer.Option(help="Seconds on the timeline.")] = None,
    export: Annotated[Path | None, typer.Option(help="Write every set's frames as CSV.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read sources in step, and say how well the frames of each instant fit together."""
    configs = configurations(inputs, numbers_by_camera(offset), numbers_by_camera(drift), times)
    ingestor = VideoIngestor(
        configs,
        sync_tolerance=tolerance / 1e3,
        target_rate=rate if rate in ("lowest", "highest") else number_of(rate, "--rate"),
        strategy=strategy,
        min_cameras=min_cameras,
        reference=reference,
    )
    statistics, rows = SetStatistics(), []
    with ingestor:
        for number, found in enumerate(_shown(ingestor.frame_sets(start, end), as_json)):
            statistics.add(found)
            if export is not None:
                rows += export_rows(number, found)
    if export is not None:
        publish_text(export, as_csv(rows))
    summary = summarize(statistics, [config.camera_id for config in configs])
    if as_json:
        print(json.dumps(summary, indent=1))
    else:
        print_summary(summary)


@app.command(epilog="Example: multiview synthesize /tmp/scene --cameras 4 --seconds 10 --rate 25")
def synthesize(
    folder: Annotated[Path, typer.Argument(help="Where the videos and truth.json go.")],
    cameras: Annotated[int, typer.Option(min=1, max=64)] = 3,
    seconds: Annotated[float, typer.Option(help="Length of each video.")] = 5.0,
    rate: Annotated[float, typer.Option(help="Frames per second.")] = 30.0,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels.")] = "1280x720",
    as_json: AsJson = False,
) -> None:
    """Film a synthetic scene with cameras of known place, for trying things out."""
    width, _, height = size.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise SyncConfigError(f"--size {size!r} is not like 1280x720")
    generator = SyntheticVideoGenerator(size=(int(width), int(height)))
    names = [f"cam{number}" for number in range(1, cameras + 1)]
    made = generator.create_videos(
        folder, track(names, "filming", disable=as_json), SceneConfig(), seconds, rate
    )
    if as_json:
        print(json.dumps({camera: str(path) for camera, path in made.items()}))
    else:
        Console().print(f"{len(made)} videos and their truth are in {folder}")


def main() -> None:
    """Run `multiview`; errors become one line and an exit code."""
    try:
        app()
    except TuttiError as error:
        if "--debug" in sys.argv:
            raise
        if "--json" in sys.argv:
            print(json.dumps({"error": {"message": str(error), "hint": error.hint}}))
        hint = f"\n  → {error.hint}" if error.hint else ""
        print(f"multiview: {error}{hint}", file=sys.stderr)
        sys.exit(error.exit_code)


def _probe(config: VideoSourceConfig) -> VideoMetadata:
    source = config.own_source()
    source.open()
    try:
        return source.get_metadata()
    finally:
        source.release()


def _shown(found: Iterator[FrameSet], quiet: bool) -> Iterable[FrameSet]:
    return track(found, "reading", transient=True, disable=quiet, console=Console(stderr=True))


if __name__ == "__main__":
    main()
