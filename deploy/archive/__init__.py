"""Builds the site archive: everything that a controller without internet needs to set up a rig."""
