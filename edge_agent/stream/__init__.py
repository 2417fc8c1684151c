"""A stream worker: follows one camera's capture log, encodes, spools and sends.

One process per camera, so that x264 and Python never hold the capture process up.
"""

from edge_agent.stream.worker import worker_main

__all__ = ["worker_main"]
