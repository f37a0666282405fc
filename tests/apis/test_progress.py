"""Progress that a log shows: lines at every tenth, nothing that draws over itself."""

import io

from rich.console import Console
from rich.progress import Progress

from sparsevit_mm.apis.progress import LoggedProgress


def shown(total, terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=80)
    with LoggedProgress(*Progress.get_default_columns(), console=console) as progress:
        task = progress.add_task('Training', total=total, loss='-')
        for done in range(1, total + 1):
            progress.update(task, completed=done, loss=f'{1 / done:.2f}')
    return console.file.getvalue()


def test_a_log_has_a_line_for_every_tenth():
    lines = shown(200, terminal=False).splitlines()
    assert len(lines) == 10
    assert lines[0].startswith('Training: 20 of 200, loss 0.05, ')
    assert lines[-1].startswith('Training: 200 of 200, loss 0.01, ')


def test_few_steps_have_a_line_each():
    assert len(shown(3, terminal=False).splitlines()) == 3


def test_a_terminal_sees_a_bar():
    assert '\x1b[' in shown(20, terminal=True)
    assert 'Training: 2 of 20' not in shown(20, terminal=True)
