"""Commands that load only when they are used: the audit's libraries are large."""

import importlib
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True, slots=True)
class LateCommand:
    """A command whose function is imported on first use."""

    module: str
    function: str
    summary: str


LATE_COMMANDS = {
    "audit": LateCommand(
        "control_server.audit.cli", "audit", "Prove from the files alone what a session recorded."
    ),
    "transcode": LateCommand(
        "control_server.transcode.cli", "transcode", "Make H.265 of a session, evidence included."
    ),
    "demo": LateCommand(
        "control_server.commands.demo",
        "demo",
        "Record simulated cameras on this machine and audit them.",
    ),
}


class LateGroup(TyperGroup):
    """Lists late commands by name and summary; imports one when it is resolved to run.

    Contexts and commands are click's, which typer brings along under a name of its own.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """All commands, the late ones included."""
        return [*super().list_commands(ctx), *LATE_COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command, or a late one's place holder for the list."""
        late = LATE_COMMANDS.get(cmd_name)
        if late is None:
            return super().get_command(ctx, cmd_name)
        return TyperCommand(cmd_name, help=late.summary)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import a late command that is about to run, to show its help or to complete."""
        late = LATE_COMMANDS.get(args[0]) if args else None
        if late is None:
            return super().resolve_command(ctx, args)
        return args[0], load(args[0], late), args[1:]


def load(name: str, late: LateCommand) -> Any:
    """The real command."""
    function: Any = getattr(importlib.import_module(late.module), late.function)
    app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode="rich")
    app.command(name)(function)
    command = typer.main.get_command(app)
    command.name = name
    return command
