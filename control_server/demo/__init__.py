"""A whole rig on one machine, and what `manager demo` does with it."""
