"""A study of which windows to keep, on several data sets: see docs/which_windows.md."""
