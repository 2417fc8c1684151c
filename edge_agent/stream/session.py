"""One session of one camera within a worker: encoder, spool and streamer belong together."""

from pathlib import Path
from typing import TYPE_CHECKING

from capture_protocol.datagram import Start
from capture_protocol.evidence import evidence_nal, splice
from capture_protocol.frame import FrameFlag, FrameRecord
from capture_protocol.nal import Codec
from capture_protocol.rig import NodeCamera
from edge_agent.picamera import SharedPictures
from edge_agent.spool import Spool, SpoolHeader
from edge_agent.stream.encoder import Encoder
from edge_agent.stream.pictures import Pictures
from edge_agent.stream.streamer import Streamer

if TYPE_CHECKING:
    from edge_agent.picamera.hardware import HardwareEncoder


class SessionStream:
    """Turns a session's frames into spooled access units."""

    def __init__(self, start: Start, config: NodeCamera, spool: Spool, streamer: Streamer) -> None:
        self.session = start.session
        self.spool = spool
        self.streamer = streamer
        self.encoded = 0
        self._gop = start.gop
        self._rate = start.rate
        self._config = config
        self._encoder: Encoder | HardwareEncoder | None = None
        self._last_gop = -1

    def encode(self, record: FrameRecord, packed: bytes, pictures: Pictures, shown: int) -> bytes:
        """The access unit of a frame, with its evidence inside.

        Raises:
            EncoderError: no access unit came out.
            CameraError: the picture is not to be had.
        """
        picture = pictures.picture(record, shown)
        encoder = self._encoder or self._open_encoder(pictures)
        unit = encoder.encode(picture, record.slot, key=self.wants_key(record.slot))
        locked = not record.flags & FrameFlag.UNSYNCHRONISED
        nal = evidence_nal(packed, record.midpoint_ns, locked=locked, codec=Codec.H264)
        return splice(unit, nal, Codec.H264)

    def wants_key(self, slot: int) -> bool:
        """Whether the frame of this slot is the first one of its group of pictures."""
        return slot // self._gop != self._last_gop

    def store(self, slot: int, unit: bytes) -> bool:
        """Append an access unit to the spool; return whether it is a key frame.

        Raises:
            OSError: the disk is full.
        """
        key = self.wants_key(slot)
        self.resume()  # whoever called the session over was too early
        self.spool.append(slot, unit, key=key)
        self._last_gop = slot // self._gop
        self.encoded += 1
        return key

    def break_chain(self) -> None:
        """A frame got lost between encoder and spool: begin again with a key frame."""
        self._encoder = None
        self._last_gop = -1

    def finish(self) -> None:
        """No more frames of this session come."""
        self._encoder = None
        self.spool.finish()

    def resume(self) -> None:
        """More frames come after all: an agent that was stopped rejoins its session."""
        self.spool.finished = False

    def _open_encoder(self, pictures: Pictures) -> "Encoder | HardwareEncoder":
        config = self._config
        self._last_gop = -1
        hardware = None
        if isinstance(pictures, SharedPictures):
            hardware = pictures.hardware_encoder(self._rate)
        self._encoder = hardware or Encoder(
            config.width, config.height, self._rate, config.bitrate_kbps
        )
        return self._encoder


def open_spool(folder: Path, start: Start, config: NodeCamera) -> Spool:
    """The session's spool as it was left, or a new one."""
    header = SpoolHeader(
        start.session, config.index, start.rate, start.gop, config.width, config.height
    )
    return Spool.open(folder) or Spool.create(folder, header)
