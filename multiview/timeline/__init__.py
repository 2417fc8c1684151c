"""One model for all evidence of time: when a row of a frame was exposed, and how surely.

    t = a·t_source + b + row·T_row

The same model carries in-stream evidence, RTCP sender reports, photographic flashes and audio.
Times are integer nanoseconds. ``a`` and ``b`` are kept as a drift and a pair of instants, since
``a·t`` in floating point would round a UTC time to a quarter of a microsecond.
"""

from multiview.timeline._covariance import as_covariance
from multiview.timeline._errors import TimelineError
from multiview.timeline._set import TimelineSet
from multiview.timeline._timeline import Evidence, Timeline

__all__ = ["Evidence", "Timeline", "TimelineError", "TimelineSet", "as_covariance"]
