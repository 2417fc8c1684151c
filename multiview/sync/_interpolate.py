"""A picture between two frames of one camera."""

from __future__ import annotations

from types import MappingProxyType

import cv2

from multiview.sources import Frame, Picture


def blend(before: Frame, after: Frame, time_ns: int) -> Frame:
    """Mix two usable frames of one camera linearly for an instant between them.

    The result is synthetic and says so: ``metadata["interpolated"]`` is the weight of ``after``,
    and its uncertainty is the distance to the nearer of the two.
    """
    if before.picture is None or after.picture is None:
        raise ValueError("only frames with pixels can be mixed")
    weight = (time_ns - before.time_ns) / (after.time_ns - before.time_ns)
    mixed = cv2.addWeighted(before.picture.bgr, 1 - weight, after.picture.bgr, weight, 0)
    return Frame(
        before.camera_id,
        time_ns,
        before.frame_number,
        picture=Picture.from_array(mixed),
        uncertainty_ns=min(time_ns - before.time_ns, after.time_ns - time_ns),
        metadata=MappingProxyType({"interpolated": weight}),
    )
