"""Reads, converts and writes checkpoints in the parameter layouts of other projects and ours."""
