"""H.264 to H.265, with all evidence."""
