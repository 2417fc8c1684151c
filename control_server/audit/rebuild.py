"""Make `frames.parquet` anew from the video alone."""

from capture_protocol import SessionFolder
from control_server.audit.files import file_sha256
from control_server.session.frames_table import Progress, write_frames


def rebuild_frames(folder: SessionFolder, progress: Progress | None = None) -> None:
    """Publish the table anew; a sealed session's manifest gets the new table's hash.

    The manifest keeps its account and the hashes of the video, so what was lost from the files
    after the sealing still shows.

    Raises:
        InputError: no session folder.
        OSError: the disk is full; the old table is untouched.
    """
    write_frames(folder, progress)
    manifest = folder.read_manifest()
    if manifest is not None:
        digest = file_sha256(folder.frames_path)
        folder.write_manifest(manifest.model_copy(update={"frames_sha256": digest}))
