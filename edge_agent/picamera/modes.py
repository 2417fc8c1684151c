"""Which sensor mode a camera is run in."""

from capture_protocol.errors import InputError
from edge_agent.sensor import MODES, SensorMode, sensor_mode


def choose_mode(
    model: str, wanted: str, width: int, height: int, more: dict[str, SensorMode] | None = None
) -> SensorMode:
    """The sensor mode for a picture size.

    Args:
        model: libcamera's name of the sensor, e.g. ``imx708_wide``.
        wanted: a mode by name; empty: the smallest one that is not smaller than the picture.
        width: picture width.
        height: picture height.
        more: the modes of rig.toml, beside those of the table.

    Raises:
        InputError: the sensor is not in the table, or has no mode of that name.
    """
    sensor = model.split("_")[0]
    table = {**MODES, **(more or {})}
    modes = [mode for mode in table.values() if mode.name.split("-")[0] == sensor]
    if wanted:
        mode = sensor_mode(wanted, more)
        if modes and mode not in modes:
            raise InputError(
                f"mode {wanted} is not one of the sensor {model}",
                hint="its modes: " + ", ".join(mode.name for mode in modes),
            )
        return mode
    if not modes:
        raise InputError(
            f"the sensor {model} is not in the table of sensor modes",
            hint="describe it in rig.toml as [[sensor_mode]], or set the option mode to one with "
            "the same timing: " + ", ".join(sorted(table)),
        )
    large_enough = [mode for mode in modes if mode.width >= width and mode.rows >= height]
    if large_enough:
        return min(large_enough, key=lambda mode: (mode.width * mode.rows, mode.shortest_frame_ns))
    return max(modes, key=lambda mode: mode.width)
