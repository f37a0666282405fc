"""A study on CamVid: does skipping windows beat a lower resolution? See docs/evidence_camvid.md."""
