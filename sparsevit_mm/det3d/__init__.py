"""3D detection: BEVDet, the neck of SMOKE, data, metrics and drawings."""
