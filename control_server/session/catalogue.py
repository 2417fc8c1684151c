"""All sessions in the storage folder, read from disk alone."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from capture_protocol import InputError
from control_server.session.counter import session_folder, session_numbers


class CatalogueEntry(BaseModel):
    """One session in `manager sessions`."""

    model_config = ConfigDict(frozen=True)

    session: int
    state: str
    """open, complete, incomplete or damaged."""
    t0_ns: int | None = None
    rate: str = ""
    slots: int | None = None
    cameras: int = 0
    frames: int = 0
    missing: int = 0
    note: str = ""
    folder: str


def catalogue(storage: Path) -> list[CatalogueEntry]:
    """All sessions, oldest first; damaged ones say what is wrong."""
    return [_entry(storage, number) for number in session_numbers(storage)]


def _entry(storage: Path, number: int) -> CatalogueEntry:
    folder = session_folder(storage, number)
    try:
        plan, manifest = folder.read_plan(), folder.read_manifest()
    except InputError as error:
        return CatalogueEntry(
            session=number, state="damaged", note=str(error), folder=str(folder.path)
        )
    entry = CatalogueEntry(
        session=number,
        state="open",
        t0_ns=plan.t0_ns,
        rate=str(plan.rate),
        cameras=len(plan.cameras),
        folder=str(folder.path),
    )
    if manifest is None:
        return entry
    return entry.model_copy(
        update={
            "state": "complete" if manifest.complete else "incomplete",
            "slots": manifest.last_slot + 1,
            "frames": sum(camera.frames for camera in manifest.cameras),
            "missing": sum(
                last - first + 1 for camera in manifest.cameras for first, last in camera.missing
            ),
            "note": manifest.reason,
        }
    )
