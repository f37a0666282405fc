"""Importing this module makes `projects` importable: it lies beside the folder of the tools."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
