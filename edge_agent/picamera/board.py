"""Which camera buffer shows which picture: a page of numbers that both processes see.

Each word has one writer and is written whole, so there is no lock. The capture process numbers
the pictures in their buffers; the worker says which one it reads. A buffer is free once the
worker reads a later picture; if it falls behind, the oldest unread picture is overwritten, never
the one that is being read. Numbers never come back, not even after a restart.
"""

import mmap
import os
import struct

from edge_agent.camera.contract import CameraError

_WORD = struct.Struct("=Q")


class Board:
    """The page: word 0 is the number being read, word 1 + i the number in buffer i (0: none)."""

    def __init__(self, fd: int, buffers: int) -> None:
        """Map the page that ``fd`` is; it is grown to its size first."""
        size = _WORD.size * (1 + buffers)
        os.ftruncate(fd, size)
        self.fd = fd
        self.buffers = buffers
        self._page = mmap.mmap(fd, size)

    @property
    def reading(self) -> int:
        """The picture that the worker reads; it has done with all before."""
        return self._word(0)

    @reading.setter
    def reading(self, number: int) -> None:
        _WORD.pack_into(self._page, 0, number)

    def number(self, buffer: int) -> int:
        """The picture in a buffer."""
        return self._word(1 + buffer)

    def show(self, buffer: int, number: int) -> None:
        """Say which picture is in a buffer."""
        _WORD.pack_into(self._page, _WORD.size * (1 + buffer), number)

    def close(self) -> None:
        """Unmap the page and close its descriptor."""
        self._page.close()
        os.close(self.fd)

    def _word(self, at: int) -> int:
        return int(_WORD.unpack_from(self._page, _WORD.size * at)[0])


class BufferPool:
    """The capture process's side: which buffer the camera may fill next."""

    def __init__(self, board: Board, first_number: int) -> None:
        """Args: board; a number larger than any of an earlier run (the time will do)."""
        self._board = board
        self._next = first_number
        self._idle = set(range(board.buffers))
        self.overwritten = 0
        """Pictures that the worker never read. Counts also while nothing is recorded."""

    def take(self) -> int | None:
        """A buffer for the camera, or None if every one is with the camera or being read."""
        board = self._board
        for buffer in sorted(self._idle, key=board.number):
            number = board.number(buffer)
            if number and number == board.reading:
                continue
            board.show(buffer, 0)
            if number and number == board.reading:  # claimed between the two looks
                board.show(buffer, number)
                continue
            self._idle.remove(buffer)
            self.overwritten += number > board.reading
            return buffer
        return None

    def give_back(self, buffer: int) -> None:
        """Take an unfilled buffer back from the camera."""
        self._idle.add(buffer)

    def publish(self, buffer: int) -> int:
        """Number the picture that the camera has put into a buffer."""
        number = self._next
        self._next += 1
        self._board.show(buffer, number)
        self._idle.add(buffer)
        return number


def claim(board: Board, number: int) -> int:
    """Start to read a picture (and be done with all before); return its buffer.

    Raises:
        CameraError: it is not there (any more).
    """
    board.reading = number
    for buffer in range(board.buffers):
        if board.number(buffer) == number:
            return buffer
    raise CameraError(
        "the picture was overwritten before it was encoded",
        hint="the encoder is too slow for this size and rate, or the worker had to be restarted",
    )
