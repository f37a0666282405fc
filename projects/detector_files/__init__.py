"""Files of three trained detectors, compared with the detectors themselves."""
