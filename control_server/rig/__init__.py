"""Where a rig lives on the server, and how `manager init` makes one."""
