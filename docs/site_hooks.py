"""Generates pages of the documentation from the rest of the project: a hook of MkDocs.

The API reference is made from the docstrings and the papers' tables from the results in
`projects/paper_tables`, so these pages are always current. Configs are files of the site; a link to
any other file that is no page becomes the file's name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
TABLES = ROOT / 'projects' / 'paper_tables' / 'results'
CONFIGS = sorted((ROOT / 'configs').rglob('*.py'))
PACKAGES = sorted(path.parent.name for path in (ROOT / 'sparsevit_mm').glob('[a-z]*/__init__.py'))
"""The packages inside `sparsevit_mm`; each has a page in the API reference."""
WIDE = ('model_zoo.md', 'performance.md', 'published_tables.md', 'swap_sweep.md')
"""Pages whose tables need the room of the contents on the right."""
SINGLE = 'sparsevit_mm'
"""Page of the modules that are in no package."""

_LINK = re.compile(r'(?<!!)\[([^\]]+)\]\(((?:\.\./)[^)#\s]+)[^)]*\)')
_PICTURE = re.compile(r'^(!\[[^\]]*\]\(([^)]+)\))$', re.M)


def on_config(config: Any) -> Any:
    """Adds the pages of the API reference to the navigation."""
    (reference,) = (entry['Reference'] for entry in config.nav if 'Reference' in entry)
    reference.append({'API': [{name: f'api/{name}.md'} for name in (SINGLE, *PACKAGES)]})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the generated pages to the site."""
    pages = {'published_tables.md': published_tables()}
    pages |= {f'api/{name}.md': api_reference(name) for name in (SINGLE, *PACKAGES)}
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    for path in CONFIGS:
        name = str(path.relative_to(ROOT))
        files.append(File.generated(config, name, content=path.read_text()))
    for plot in TABLES.glob('*.png'):
        files.append(File.generated(config, f'images/{plot.name}', abs_src_path=str(plot)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Replaces links to files outside the site by their names; a picture links to itself."""
    if page.file.src_uri in WIDE:
        page.meta['hide'] = ['toc']

    def named(match: re.Match[str]) -> str:
        path = (ROOT / 'docs' / Path(page.file.src_uri).parent / match[2]).resolve()
        if path.parent == TABLES and path.suffix == '.md' and path.exists():
            return f'[{match[1]}](published_tables.md#{path.stem})'
        if path in CONFIGS:
            return f'[{match[1]}]({path.relative_to(ROOT)})'
        if not path.exists():
            raise FileNotFoundError(f'{page.file.src_uri} links to {match[2]}, which is missing')
        shown = f'`{path.relative_to(ROOT)}`'
        return (
            shown
            if match[1].strip('`') in (shown.strip('`'), match[2])
            else f'{match[1]} ({shown})'
        )

    return _PICTURE.sub(r'[\1](\2)', _LINK.sub(named, markdown))


def published_tables() -> str:
    """The page with every table of the papers, as `tools/paper_tables.py` wrote them."""
    lines = ['# Published beside counted beside measured', '']
    lines.append('Written by `tools/paper_tables.py run`; [how](paper_tables.md).')
    ablations_last = sorted(
        TABLES.glob('*.md'), key=lambda path: (path.stem.startswith('ablation'), path.stem)
    )
    for path in ablations_last:
        title, _, body = path.read_text().partition('\n')
        lines += ['', f'## {title.lstrip("# ")} {{#{path.stem}}}', body]
        if path.with_suffix('.png').exists():
            lines += ['', f'![Accuracy over cost](images/{path.stem}.png)']
    return '\n'.join(lines)


def api_reference(name: str) -> str:
    """A page with one entry for each module of a package, or for each that is in none."""
    package = ROOT / 'sparsevit_mm'
    folder, found = (package, 'glob') if name == SINGLE else (package / name, 'rglob')
    modules = sorted(
        '.'.join(path.relative_to(ROOT).with_suffix('').parts)
        for path in getattr(folder, found)('*.py')
        if path.stem != '__init__'
    )
    start = '.'.join(folder.relative_to(ROOT).parts)
    lines = [f'# {name}', '', f'From the docstrings of `{start}`.']
    return '\n'.join(lines + [f'\n::: {module}' for module in modules]) + '\n'
