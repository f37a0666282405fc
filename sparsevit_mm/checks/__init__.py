"""Checks before anything is built or written: configs, images, annotation files."""
