"""Checks configs, images and annotation files before anything is built or written."""
