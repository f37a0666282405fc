"""Compares ways to share a budget of windows between images, with trained weights."""
