"""Runs on a node: cameras, release timer, encoder, spool and stream."""
