"""What the documentation takes from the rest of the project when it is built: a hook of MkDocs.

The model zoo comes from the metafiles and the API reference from the docstrings, so that neither
can fall behind. Links to files that are no pages of the site become the files' names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    'backbones', 'pruning', 'search', 'engine', 'swap', 'checkpoints', 'classification',
    'profiling', 'deployment', 'layers', 'visualization',
)  # fmt: skip
"""Parts of the package in the API reference, what users name first."""

_LINK = re.compile(r'(?<!!)\[([^\]]+)\]\(((?:\.\./)[^)#\s]+)[^)]*\)')


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that are generated."""
    files.append(File.generated(config, 'model_zoo.md', content=model_zoo()))
    files.append(File.generated(config, 'api.md', content=api_reference()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Names files outside of the site instead of linking to them."""

    def named(match: re.Match[str]) -> str:
        path = (ROOT / 'docs' / Path(page.file.src_uri).parent / match[2]).resolve()
        if not path.exists():
            raise FileNotFoundError(f'{page.file.src_uri} links to {match[2]}, which is missing')
        shown = f'`{path.relative_to(ROOT)}`'
        return (
            shown
            if match[1].strip('`') in (shown.strip('`'), match[2])
            else f'{match[1]} ({shown})'
        )

    return _LINK.sub(named, markdown)


def model_zoo() -> str:
    """The configs of every metafile, with what is counted and what is published."""
    lines = [
        '# Model zoo',
        '',
        'Generated from the `metafile.yml` of every config folder. MACs are *counted*, of the '
        'backbone on one image. No weights are shipped: a metric is printed where its authors '
        "published one, and the tables in the folders' READMEs say which.",
    ]
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    for name in index['Import']:
        models = yaml.safe_load((ROOT / name).read_text()).get('Models') or []
        if not models:
            continue
        folder = Path(name).parent
        lines += [
            '',
            f'## {folder}',
            '',
            '| config | input | MACs, G | metrics |',
            '|---|---|---|---|',
        ]
        for model in models:
            about = model.get('Metadata', {})
            macs = next((value for key, value in about.items() if 'MACs' in key), '')
            metrics = ', '.join(
                f'{metric} {value}'
                for result in model.get('Results') or []
                for metric, value in (result.get('Metrics') or {}).items()
            )
            stem = Path(model['Config']).stem
            lines.append(f'| `{stem}` | {about.get("Test Size", "")} | {macs} | {metrics} |')
    return '\n'.join(lines) + '\n'


def api_reference() -> str:
    """One section a part of the package, one entry a module that has public names."""
    lines = ['# API', '', 'From the docstrings. `sparsevit_mm` itself exports what most need.']
    for package in PACKAGES:
        folder = ROOT / 'sparsevit_mm' / package
        modules = sorted(path.stem for path in folder.glob('*.py') if path.stem != '__init__')
        if modules:
            lines += ['', f'# {package}']
            lines += [f'\n::: sparsevit_mm.{package}.{module}' for module in modules]
    return '\n'.join(lines) + '\n'
