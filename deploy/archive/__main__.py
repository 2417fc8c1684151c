"""`python -m deploy.archive`."""

from deploy.archive.cli import main

main()
