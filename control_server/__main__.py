"""``python -m control_server`` is ``manager``."""

from control_server.cli import main

main()
