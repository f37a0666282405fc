"""Builds the framework's visualizer so that it writes image files only."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import VISUALIZERS

_numbers = itertools.count()


def build_framework_visualizer(cfg: Config, dataset_meta: Mapping[str, Any]) -> Any:
    """Builds the visualizer of a config without its back ends.

    Args:
        cfg: A config with a `visualizer`; its framework must be registered and be the scope.
        dataset_meta: Class names and colors.
    """
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # about the back ends that are left out on purpose
        visualizer = VISUALIZERS.build(
            {
                **cfg.visualizer,
                # The registry keeps one visualizer a name in a process.
                'name': f'images {next(_numbers)}',
                'vis_backends': None,
                'save_dir': None,
            }
        )
    visualizer.dataset_meta = dict(dataset_meta)
    return visualizer
