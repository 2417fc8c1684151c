"""What may go wrong with live streams."""

from multiview.errors import SourceError


class StreamProcessingError(SourceError):
    """The streams cannot be synchronised: their clocks or latencies are too far apart."""


class StreamBrokenError(SourceError):
    """A live stream ended, jumped or changed hands; connecting anew may help."""
