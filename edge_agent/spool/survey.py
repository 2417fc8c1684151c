"""What spools lie on a node's disk."""

from pathlib import Path


def session_folder(root: Path, session: int, camera: str) -> Path:
    """Folder of one camera's spool of a session."""
    return root / f"{session:06}" / camera


def spooled_sessions(root: Path) -> list[int]:
    """Sessions of which anything is spooled, oldest first."""
    if not root.is_dir():
        return []
    return sorted(int(path.name) for path in root.iterdir() if path.name.isdigit())


def spooled_cameras(root: Path, session: int) -> list[str]:
    """Cameras of which a session's spool holds anything."""
    folder = root / f"{session:06}"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
