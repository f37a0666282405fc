"""The bodies of the command-line tools: `apis/X.py` is what `tools/X.py` calls."""
