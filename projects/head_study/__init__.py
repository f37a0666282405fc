"""A study of models whose backbone, neck and head skip windows."""
