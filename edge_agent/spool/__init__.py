"""The spool: encoded frames on disk until the server has them in closed files.

One folder per session and camera, in it chunks: append-only files that begin with a key frame.
Every access unit is framed with its slot, size, flags and checksums, so that a torn tail is cut
when the spool is opened after a kill. Whole chunks go when all their slots are durable::

    spool = Spool.create(folder, header)      # or Spool.open(folder)
    spool.append(slot, unit, key=True)
    for entry in spool.follow(0): unit = spool.read(entry)
    spool.forget_before(next_slot)
"""

from edge_agent.spool.chunk import Entry, SpoolError, SpoolHeader
from edge_agent.spool.leftovers import Leftovers
from edge_agent.spool.spool import Spool
from edge_agent.spool.survey import session_folder, spooled_cameras, spooled_sessions

__all__ = [
    "Entry",
    "Leftovers",
    "Spool",
    "SpoolError",
    "SpoolHeader",
    "session_folder",
    "spooled_cameras",
    "spooled_sessions",
]
