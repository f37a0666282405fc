"""Whether skipping windows beats lower resolution on real frames; see docs/evidence.md."""
