"""Packs a folder so that equal files give an equal archive.

Nothing is compressed: wheels and packages are already (gzip saves 2 of 340 MB and takes minutes).
"""

import tarfile
from pathlib import Path

from capture_protocol.publish import publishing


def pack(folder: Path, archive: Path) -> None:
    """Write a `.tar` of a folder: sorted, without dates, owners and other people's rights."""
    with (
        publishing(archive) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                _add(tar, path, f"{folder.name}/{path.relative_to(folder)}")


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    found = path.stat()
    member = tarfile.TarInfo(name)
    member.size = found.st_size
    member.mode = 0o755 if found.st_mode & 0o100 else 0o644
    with path.open("rb") as file:
        tar.addfile(member, file)
