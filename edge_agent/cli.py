"""`edge-agent`: the commands of a node."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from capture_protocol.errors import TuttiError
from capture_protocol.rig import load_node

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="node.toml, as `manager init` wrote it.")
]


@app.callback()
def agent(
    context: typer.Context,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Run the cameras of one node."""
    context.obj = debug


@app.command()
def run(config: ConfigOption = Path("node.toml")) -> None:
    """Record with the cameras of this node until SIGTERM.

    Example: edge-agent run --config /etc/tutti/node.toml
    """
    from edge_agent.agent import NodePaths, run_agent

    node = load_node(config)
    run_agent(node, NodePaths.of(config, node))


def main() -> None:
    """Entry point: errors become one line and an exit code, a traceback only under --debug."""
    try:
        app()
    except TuttiError as error:
        if "--debug" in sys.argv:
            raise
        typer.echo(f"error: {error}", err=True)
        if error.hint:
            typer.echo(f"  hint: {error.hint}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
