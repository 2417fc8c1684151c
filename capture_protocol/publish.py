"""Durable files appear whole or not at all: temporary file, fsync, rename, fsync of the folder."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def publish_bytes(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that, whenever power or the process ends, it is the old one or the new one.

    Args:
        path: its folder must exist.
        data: the whole content.
        mode: permission bits; secrets use 0o600, which holds before the first byte is written.
    """
    with publishing(path, mode=mode) as file:
        file.write(data)


@contextmanager
def publishing(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A file to write, published as ``path`` when the block ends; an error leaves no trace."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def publish_text(path: Path, text: str, *, mode: int = 0o644) -> None:
    """`publish_bytes` for UTF-8 text."""
    publish_bytes(path, text.encode(), mode=mode)


def sync_folder(folder: Path) -> None:
    """Make renames and new names in ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
