"""What an agent knows of its CLOCK_REALTIME: who disciplines it, and how well."""

from edge_agent.clock.discipline import Discipline, read_discipline

__all__ = ["Discipline", "read_discipline"]
