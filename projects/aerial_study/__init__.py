"""A study of small cars from above: skipped windows against lower resolution, whole models."""
