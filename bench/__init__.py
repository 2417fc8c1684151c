"""Measurements: each module's ``run()`` returns a JSON-able dict, its ``table()`` shows it."""
