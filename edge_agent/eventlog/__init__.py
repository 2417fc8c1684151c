"""The event log on a node: a preallocated, memory-mapped ring of 128-byte records.

One file per camera and stage (capture, stream), one writer, any number of readers in other
processes. A record's number and checksum make it whole or absent at any instant of a kill::

    log = RingWriter(path)                       # continues after the highest whole number
    log.append(mono_ns, session, camera, EventKind.STATE, payload)
    reader = RingReader(path, next_number=1)
    data = reader.read(1024)                     # whole consecutive records, maybe none yet
"""

from edge_agent.eventlog.reader import Overtaken, RingReader, session_numbers
from edge_agent.eventlog.writer import DEFAULT_RECORDS, LogBusyError, RingWriter

__all__ = [
    "DEFAULT_RECORDS",
    "LogBusyError",
    "Overtaken",
    "RingReader",
    "RingWriter",
    "session_numbers",
]
