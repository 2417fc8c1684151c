"""The `synchronizevideo` command."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from capture_protocol.errors import TuttiError
from multiview.audio import read_sounds
from multiview.flash._chart import event_times_s
from multiview.flash._errors import FlashInputError
from multiview.flash._outputs import write_preview, write_synchronized_videos
from multiview.flash._synchronization import FlashVideoSynchronization
from multiview.flash._verdict import MAX_BOUND_NS, CameraVerdict

EPILOG = (
    "Example: synchronizevideo --write-preview montage.mp4 --model-json cam1.mp4 cam2.mp4 cam3.mp4"
)
CHART_COLUMNS = 80
FASTEST_FPS = 1000

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_stderr = Console(stderr=True)


Videos = Annotated[list[Path], typer.Argument(help="Videos; the first is the base camera.")]
Preview = Annotated[
    Path | None,
    typer.Option("--write-preview", help="Write a synchronized preview montage (MP4)."),
]
Folder = Annotated[
    Path | None,
    typer.Option("--out-synchronized-dir", help="Write the videos, synchronized, in here."),
]
Rate = Annotated[
    str, typer.Option(help="Rate of written videos, such as 25 or 30000/1001. [base's rate]")
]
ShowFlashes = Annotated[
    bool, typer.Option("--show-flashes", help="Show a chart of the detected flashes.")
]
FlashChart = Annotated[
    Path | None, typer.Option(help="Write that chart as a picture (PNG, SVG or PDF).")
]
AsJson = Annotated[bool, typer.Option("--model-json", "--json", help="Print the model as JSON.")]
AsYaml = Annotated[bool, typer.Option("--model-yaml", help="Print the model as YAML.")]
MaxBound = Annotated[
    float, typer.Option(min=0.001, help="Refuse if a row's time is less sure (99 %).")
]
CacheDir = Annotated[
    Path | None, typer.Option(help="Where decoded features are kept. [user's cache]")
]
UseAudio = Annotated[
    bool, typer.Option("--audio", help="Use the videos' sound too: it narrows the search.")
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Keep no features.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")]


@app.command(epilog=EPILOG)
def synchronize(
    files: Videos,
    preview: Preview = None,
    folder: Folder = None,
    fps: Rate = "",
    show_flashes: ShowFlashes = False,
    flash_chart: FlashChart = None,
    model_json: AsJson = False,
    model_yaml: AsYaml = False,
    max_bound_ms: MaxBound = MAX_BOUND_NS / 1e6,
    cache_dir: CacheDir = None,
    audio: UseAudio = False,
    no_cache: NoCache = False,
    debug: Debug = False,  # noqa: ARG001 - read by main
) -> None:
    """Put videos that show the same camera flashes on one timeline, or say why not."""
    rate = _parse_rate(fps)
    videos = dict(zip(camera_names(files), files, strict=True))
    sync = FlashVideoSynchronization(cache_dir, use_cache=not no_cache)
    with _progress(f"detecting flashes in {len(files)} videos") as bars:
        sync.detect_flash_events(videos, bars.per_camera)
    if show_flashes:
        _stderr.print(text_chart(sync), highlight=False)
    if flash_chart is not None:
        _save_chart(sync, flash_chart)  # stays if the synchronisation is refused
    _solve(sync, videos, audio, max_bound_ms)
    _report(sync, model_json, model_yaml)
    if flash_chart is not None:
        _save_chart(sync, flash_chart)
    _write(sync, folder, preview, rate)


def _solve(
    sync: FlashVideoSynchronization, videos: dict[str, Path], audio: bool, max_bound_ms: float
) -> None:
    if audio:
        with _progress("listening") as bars:
            sounds = read_sounds(videos, bars.total)
        sync.synchronize_with_audio(sounds, max_bound_ms=max_bound_ms)
    else:
        sync.synchronize(max_bound_ms=max_bound_ms)


def _write(
    sync: FlashVideoSynchronization,
    folder: Path | None,
    preview: Path | None,
    rate: Fraction | None,
) -> None:
    if folder is not None:
        with _progress("writing synchronized videos") as bars:
            write_synchronized_videos(sync, folder, rate, bars.total)
    if preview is not None:
        with _progress("writing the preview") as bars:
            write_preview(sync, preview, rate, bars.total)


def camera_names(files: Sequence[Path]) -> list[str]:
    """Name cameras by their files' stems where these differ, else by their whole paths."""
    stems = [file.stem for file in files]
    names = stems if len(set(stems)) == len(stems) else [str(file) for file in files]
    if len(set(names)) < len(names):
        raise FlashInputError("a video is named twice")
    return names


def text_chart(sync: FlashVideoSynchronization) -> str:
    """Draw the flashes in characters: a strong one as █, one without a row edge as ·."""
    tracks = sync.tracks
    width = max(map(len, tracks))
    end_s = max(track.end_ns for track in tracks.values()) / 1e9
    lines = []
    for name, track in tracks.items():
        cells = [" "] * CHART_COLUMNS
        for event, time_s in zip(track.events, event_times_s(name, track, None, 0), strict=True):
            place = min(max(int(time_s / max(end_s, 1e-9) * CHART_COLUMNS), 0), CHART_COLUMNS - 1)
            cells[place] = "█" if event.edges else "·"
        lines.append(f"{name:>{width}} |{''.join(cells)}| {len(track.events)} flashes")
    return "\n".join([*lines, f"{'':>{width}}  0 s{f'{end_s:.1f} s':>{CHART_COLUMNS - 3}}"])


def _parse_rate(text: str) -> Fraction | None:
    if not text:
        return None
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise FlashInputError(
            f"{text!r} is no frame rate", hint="write 25 or 30000/1001"
        ) from error
    if not 0 < rate <= FASTEST_FPS:
        raise FlashInputError(f"a rate of {text} fps is not possible", hint=f"1 to {FASTEST_FPS}")
    return rate


def _save_chart(sync: FlashVideoSynchronization, path: Path) -> None:
    try:
        sync.show_events().savefig(path)
    except (OSError, ValueError) as error:
        raise FlashInputError(f"{path}: the chart cannot be written: {error}") from error


def _report(sync: FlashVideoSynchronization, as_json: bool, as_yaml: bool) -> None:
    if as_json:
        print(sync.timelines.to_json())
    if as_yaml:
        print(sync.timelines.to_yaml())
    if not (as_json or as_yaml):
        Console().print(_table(sync))


def _table(sync: FlashVideoSynchronization) -> Table:
    table = Table(title=f"times by the clock of {sync.timelines.reference}")
    heads = ("camera", "offset s", "drift ppm", "row us", "exposure ms", "flashes", "99 % bound ms")
    for head in heads:
        table.add_column(head, justify="left" if head == "camera" else "right")
    for name, verdict in sync.verdicts.items():
        table.add_row(name, *_cells(verdict))
    return table


def _cells(verdict: CameraVerdict) -> tuple[str, ...]:
    return (
        f"{verdict.offset_s:+.6f}",
        f"{verdict.drift_ppm:+.2f} ± {verdict.drift_sigma_ppm:.2f}",
        f"{verdict.line_time_us:.2f} ± {verdict.line_time_sigma_us:.2f}",
        f"{verdict.exposure_ms:.2f} ± {verdict.exposure_sigma_ms:.2f}",
        f"{verdict.common} of {verdict.flashes}",
        f"{verdict.bound_us / 1e3:.3f}",
    )


class _Bars:
    """Progress bars on standard error."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._title = title
        self._tasks: dict[str, TaskID] = {}

    def per_camera(self, name: str, fraction: float) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=1.0)
        self._progress.update(self._tasks[name], completed=fraction)

    @property
    def total(self) -> Callable[[float], None]:
        return lambda fraction: self.per_camera(self._title, fraction)


@contextmanager
def _progress(title: str) -> Iterator[_Bars]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_stderr, transient=True) as progress:
        yield _Bars(progress, title)


def main() -> None:
    """Run `synchronizevideo`; errors become one line and an exit code."""
    try:
        app()
    except TuttiError as error:
        if "--debug" in sys.argv:
            raise
        if {"--json", "--model-json"} & set(sys.argv):
            print(json.dumps({"error": {"message": str(error), "hint": error.hint}}))
        hint = f"\n  → {error.hint}" if error.hint else ""
        print(f"synchronizevideo: {error}{hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
