"""Drawn street scenes as data sets, with nothing to download, and the demos that use them."""
