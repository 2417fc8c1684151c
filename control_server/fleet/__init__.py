"""The nodes: what is known of them, and the links to them."""
