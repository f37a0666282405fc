"""Drawings of 3D boxes: over the image of a camera, and from above."""
