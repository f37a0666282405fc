"""Builds the frameworks' inferencers for configs of this package by their names.

```python
from sparsevit_mm.apis.inferencer import build_inferencer, list_configs

print(list_configs('mask-rcnn'))
name = 'sparsevit_mm::mask-rcnn_swin-t-p4-w7_fpn_amp-ms-crop-3x_coco-672x672'
inferencer = build_inferencer(name, 'weights.pth')
inferencer('street.jpg', out_dir='found')
```
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.configs import check_checkpoint_exists
from sparsevit_mm.errors import ConfigError

PREFIX = 'sparsevit_mm::'
INFERENCERS = {
    'mmdet': 'DetInferencer',
    'mmseg': 'MMSegInferencer',
    'mmdet3d': 'MonoDet3DInferencer',
}
"""Classes in `<framework>.apis`."""


def list_configs(part: str = '') -> list[str]:
    """Names of the configs that come with the package, in order.

    Args:
        part: Text that must be in the name.
    """
    return sorted(name for name in _configs() if part in name)


def build_inferencer(name: str, weights: str | None = None, device: str | None = None) -> Any:
    """Builds the inferencer of the framework that a config is for.

    Args:
        name: Name of a config of the package, also with 'sparsevit_mm::' before it; or a path.
        weights: Path or address of a checkpoint; None leaves the weights random.
        device: Such as 'cpu' or 'cuda:0'; by default a GPU if there is one.

    Returns:
        MMDetection's DetInferencer, MMSegmentation's MMSegInferencer or MMDetection3D's
        MonoDet3DInferencer.

    Raises:
        SparseVitError: If there is no such config or checkpoint, or no inferencer for it.
    """
    path = _path(name)
    check_checkpoint_exists(weights, 'weights')
    cfg = load_config(path)
    register_framework(cfg)
    scope = cfg.get('default_scope')
    if scope not in INFERENCERS:
        raise ConfigError(
            f'{name} is for {scope}, but there are inferencers for {", ".join(INFERENCERS)} alone.'
        )
    inferencer = getattr(import_module(f'{scope}.apis'), INFERENCERS[scope])
    return inferencer(model=path, weights=weights, device=device)


def _path(name: str) -> str:
    if name.endswith('.py') and Path(name).is_file():
        return name
    known = _configs()
    wanted = Path(name.removeprefix(PREFIX)).name.removesuffix('.py')
    if wanted not in known:
        near = [other for other in sorted(known) if other.startswith(wanted.partition('_')[0])]
        raise ConfigError(
            f'the config {name} is not in the package; '
            + (f'near are {", ".join(near[:3])}.' if near else 'list_configs() names all.')
        )
    return str(known[wanted])


def _configs() -> dict[str, Path]:
    """The configs of the package by name; those that others only inherit from are left out."""
    root = Path(__file__).parents[1] / '.mim'
    if not root.is_dir():
        root = Path(__file__).parents[2]
    found = [
        path
        for pattern in ('configs/**/*.py', 'projects/*/configs/*.py')
        for path in root.glob(pattern)
        if '_base_' not in path.parts
    ]
    return {path.stem: path for path in found}
