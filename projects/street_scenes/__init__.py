"""Procedural street scenes to try the package on, with nothing to download."""
