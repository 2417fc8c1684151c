"""The agent process: START and STOP in, reports out, children kept alive; no video here."""

from edge_agent.agent.agent import Agent, run_agent
from edge_agent.agent.machine import SessionMachine
from edge_agent.agent.memory import AgentMemory
from edge_agent.agent.paths import NodePaths

__all__ = ["Agent", "AgentMemory", "NodePaths", "SessionMachine", "run_agent"]
