#!/bin/bash
# Inside the root: install the project from /opt/tutti into /opt/venv.
#
#   install.sh dependencies    all that the project and its extra [pi] need, and the project
#   install.sh                 the project alone, as it is now
set -euo pipefail

# The project is mounted read-only and in use: pip builds from a copy of what a package needs.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cd /opt/tutti
cp -r pyproject.toml README.md LICENSE capture_protocol control_server edge_agent multiview "$copy"

if [ "${1:-}" = dependencies ]; then
  # The build tools stay: later installs do without the network.
  pip install --quiet --no-cache-dir 'setuptools>=77' wheel
  pip install --quiet --no-cache-dir --constraint constraints.txt "$copy[pi]"
else
  pip install --quiet --no-deps --no-build-isolation --force-reinstall "$copy"
fi
