"""`SHA256SUMS` of a folder, in the form that `sha256sum --check` reads."""

import hashlib
from pathlib import Path

from capture_protocol import publish_text

CHECKSUMS_NAME = "SHA256SUMS"


def write_checksums(folder: Path) -> None:
    """Name every file of a folder with its checksum."""
    lines = [
        f"{file_digest(path)}  {path.relative_to(folder)}\n"
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / CHECKSUMS_NAME
    ]
    publish_text(folder / CHECKSUMS_NAME, "".join(lines))


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
