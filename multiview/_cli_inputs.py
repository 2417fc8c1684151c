"""What the `multiview` command is given on its line, as configurations of sources."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from multiview.errors import SyncConfigError
from multiview.sync import VideoSourceConfig, read_frame_times, session_configs


def configurations(
    inputs: Iterable[str],
    offsets: dict[str, float] | None = None,
    drifts: dict[str, float] | None = None,
    times: Path | None = None,
) -> list[VideoSourceConfig]:
    """One configuration per camera; files are called by their names without suffix."""
    offsets, drifts = offsets or {}, drifts or {}
    table = read_frame_times(times) if times else {}
    configs: list[VideoSourceConfig] = []
    for path in inputs:
        if Path(path).is_dir():
            configs += session_configs(path)
            continue
        camera = Path(path).stem
        configs.append(
            VideoSourceConfig(
                path,
                camera,
                offset_seconds=offsets.pop(camera, 0.0),
                drift_ppm=drifts.pop(camera, 0.0),
                frame_times_ns=_times_of(camera, table) if times else None,
            )
        )
    unknown = sorted({*offsets, *drifts})
    if unknown:
        known = ", ".join(config.camera_id for config in configs)
        raise SyncConfigError(f"there is no camera {', '.join(unknown)}", hint=f"Known: {known}")
    return configs


def _times_of(camera: str, table: dict[str, list[int]]) -> list[int]:
    """Times of the camera that the table calls like the file, or by the number in its name."""
    number = "".join(filter(str.isdigit, camera))
    for name in (camera, number):
        if name in table:
            return table[name]
    raise SyncConfigError(f"no times for {camera}", hint=f"The table has {', '.join(table)}.")


def numbers_by_camera(pairs: list[str] | None) -> dict[str, float]:
    """Options like CAMERA=NUMBER; raises SyncConfigError for what is not."""
    found = {}
    for pair in pairs or ():
        camera, equals, value = pair.rpartition("=")
        if not equals:
            raise SyncConfigError(f"{pair!r} is not like CAMERA=NUMBER")
        found[camera] = number_of(value, pair)
    return found


def number_of(text: str, what: str) -> float:
    """A number, or a SyncConfigError that says what was to be one."""
    try:
        return float(text)
    except ValueError as error:
        raise SyncConfigError(f"{what}: {text!r} is not a number") from error
