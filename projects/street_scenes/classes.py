"""Class names and colors of the street scenes."""

from __future__ import annotations

PALETTE: dict[str, tuple[int, int, int]] = {
    'sky': (110, 170, 220),
    'road': (125, 70, 125),
    'sidewalk': (235, 120, 210),
    'terrain': (155, 230, 150),
    'building': (95, 95, 110),
    'vegetation': (95, 140, 45),
    'pole': (165, 165, 155),
    'car': (30, 50, 180),
    'person': (220, 40, 70),
    'sign': (235, 200, 40),
}
"""RGB color of every class, in the order of the label maps."""

SEMANTIC_CLASSES = tuple(PALETTE)
"""Classes of the label maps, which hold the index + 1, and 0 for unlabeled pixels."""

THING_CLASSES = ('car', 'person', 'sign')
"""Classes that have instances, in the order of COCO's category ids, which count from 1."""
