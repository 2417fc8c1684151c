"""The groups of `manager` commands; each module registers its own."""
