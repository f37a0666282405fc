"""Data of 3D detectors: info files, class-balanced sampling and checked image loading."""
