"""The decoded pictures that a source keeps, for access near the last place."""

from __future__ import annotations

from collections import OrderedDict

import av


class FrameWindow:
    """The last ``capacity`` pictures that were decoded or asked for, by frame number."""

    def __init__(self, capacity: int) -> None:
        self.capacity = max(1, capacity)
        self._pictures: OrderedDict[int, av.VideoFrame] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pictures)

    def get(self, number: int) -> av.VideoFrame | None:
        """The picture if it is kept; it then stays longest."""
        picture = self._pictures.get(number)
        if picture is not None:
            self._pictures.move_to_end(number)
        return picture

    def put(self, number: int, picture: av.VideoFrame) -> None:
        """Keep a picture, letting go of the one that was not used for longest."""
        self._pictures[number] = picture
        self._pictures.move_to_end(number)
        if len(self._pictures) > self.capacity:
            self._pictures.popitem(last=False)

    def clear(self) -> None:
        """Let go of all pictures."""
        self._pictures.clear()
