"""Imported once by the fork server: what all children share, frozen so that it stays shared.

Without the freeze each child's first garbage collection would write to, and so copy, every page.
"""

import gc

import edge_agent.capture
import edge_agent.stream  # noqa: F401

gc.collect()
gc.freeze()
