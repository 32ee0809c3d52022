"""An independent check of the package: a second gateway and its tests, nothing shared with it."""
