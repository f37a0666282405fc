"""Makes `.venv` with everything the project needs; called by `make`.

Runs on a bare Python 3.10-3.12: standard library only. Finished steps are not repeated, and a
finished set-up is recognized in milliseconds by a stamp that names what it was made from.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / '.venv'
PYTHON = VENV / 'bin' / 'python'
STAMP = VENV / 'set_up.stamp'
LOG = VENV / 'set_up.log'
VERSIONS = runpy.run_path(str(ROOT / 'sparsevit_mm' / 'versions.py'))
MMCV = f'mmcv=={VERSIONS["FRAMEWORKS"]["mmcv"]}'


class SetUpError(Exception):
    """Something the user must mend; the message is one sentence."""


def main(argv: Sequence[str] = ()) -> int:
    """Sets up what is missing."""
    argparse.ArgumentParser(description=__doc__, allow_abbrev=False).parse_args(argv)
    stamp = fingerprint()
    if STAMP.exists() and STAMP.read_text() == stamp and PYTHON.exists():
        return 0
    started = time.monotonic()
    print(f'Setting up {VENV} (once; the log is {LOG.relative_to(ROOT)}).')
    try:
        make_environment()
        with step('build tools'):
            pip('install', '--upgrade', 'pip', *VERSIONS['BUILD_TOOLS'])
        install_torch()
        install_mmcv()
        needs = {need for group in VERSIONS['NEEDS_BY_FRAMEWORK'].values() for need in group}
        with step('what the frameworks need, and the test tools'):
            pip('install', VERSIONS['NUMPY'], *sorted(needs), *VERSIONS['DEV_TOOLS'])
        frameworks = [f'{name}=={version}' for name, version in VERSIONS['FRAMEWORKS'].items()]
        with step('mmengine, mmdet, mmsegmentation, mmdet3d'):
            pip('install', '--no-deps', *frameworks, *VERSIONS['DEVKITS'])
        install_onnx()
        install_triton()
        with step('sparsevit_mm'):
            pip('install', '--no-deps', '--no-build-isolation', '--editable', str(ROOT))
        STAMP.write_text(stamp)
    except SetUpError as error:
        print(f'Set-up stopped: {error}', file=sys.stderr)
        return 1
    except OSError as error:
        what = error.filename or f'a file in {VENV}'
        print(f'Set-up stopped: {what} cannot be written: {error.strerror}.', file=sys.stderr)
        return 1
    print(f'Set up in {clock(time.monotonic() - started)}.')
    return 0


def fingerprint() -> str:
    """Names what a finished set-up was made from."""
    parts = [ROOT / 'sparsevit_mm' / 'versions.py', ROOT / 'setup.py', Path(__file__)]
    digest = hashlib.sha256(b''.join(part.read_bytes() for part in parts)).hexdigest()
    return f'{ROOT} {digest}\n'


def make_environment() -> None:
    """Makes `.venv`; it sees the interpreter's own packages if torch is among them."""
    if PYTHON.exists() and run([PYTHON, '-m', 'pip', '--version']) == 0:
        return
    has_torch = run([sys.executable, '-c', 'import torch'], log=False) == 0
    print(f'  environment with Python {platform.python_version()}')
    shutil.rmtree(VENV, ignore_errors=True)
    options = ['--system-site-packages'] if has_torch else []
    result = subprocess.run(
        [sys.executable, '-m', 'venv', *options, str(VENV)], capture_output=True, text=True
    )
    if result.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        raise SetUpError(
            f'{sys.executable} cannot make a virtual environment in {ROOT}; check that the folder '
            'can be written and that the venv module is installed (on Debian: apt install '
            'python3-venv).'
        )


def install_torch() -> None:
    """Installs torch unless the environment sees one."""
    if run([PYTHON, '-c', 'import torch'], log=False) == 0:
        return
    with step(f'torch {VERSIONS["TORCH"]}'):
        pip('install', f'torch=={VERSIONS["TORCH"]}', VERSIONS['NUMPY'])


def install_mmcv() -> None:
    """Installs mmcv from an offered or cached wheel that works, else builds it and caches it."""
    if mmcv_works():
        return
    cache = wheel_cache()
    with step('mmcv: looking for a wheel'):
        # A wheel found may belong to another torch: what counts is whether its operators load.
        needs = [*VERSIONS['NEEDS_BY_FRAMEWORK']['mmengine'], VERSIONS['NUMPY']]
        pip('install', *needs)
        mmengine = f'mmengine=={VERSIONS["FRAMEWORKS"]["mmengine"]}'
        pip('install', '--no-deps', mmengine)
    offered = ['--no-deps', '--only-binary=:all:', '--force-reinstall', MMCV]
    for source in ([f'--find-links={cache}', '--no-index'], []):
        if run([PYTHON, '-m', 'pip', 'install', '-q', *source, *offered]) == 0 and mmcv_works():
            return
    build_mmcv(cache)
    pip('install', '--no-deps', '--force-reinstall', '--no-index', f'--find-links={cache}', MMCV)
    if not mmcv_works():
        raise SetUpError(f'mmcv was built but its operators do not load; see {LOG}.')


def install_onnx() -> None:
    """Installs what ONNX files are written and run with; all else works where that is missing."""
    with step('ONNX'):
        packages = [VERSIONS['NUMPY'], *VERSIONS['ONNX']]
        missing = run([PYTHON, '-m', 'pip', 'install', *packages])
    if missing:
        print(f'  ONNX could not be installed: files cannot be exported; {LOG} says why.')


def install_triton() -> None:
    """Installs Triton where torch has brought none; all but the tests of kernels works without."""
    if run([PYTHON, '-c', 'import triton'], log=False) == 0:
        return
    with step('Triton'):
        missing = run([PYTHON, '-m', 'pip', 'install', '--no-deps', VERSIONS['TRITON']])
    if missing:
        print(f'  Triton could not be installed: tests of the kernels are skipped; {LOG} says why.')


def mmcv_works() -> bool:
    """Whether mmcv is installed in the pinned version and its compiled operators load."""
    version = VERSIONS['FRAMEWORKS']['mmcv']
    check = f'import mmcv, mmcv.ops; assert mmcv.__version__ == "{version}"'
    return run([PYTHON, '-c', check], log=False) == 0


def wheel_cache() -> Path:
    """Where built wheels are kept, one folder for each Python and torch they were built for."""
    base = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    describe = (
        'import sys, sysconfig, torch; '
        'print(f"cp{sys.version_info[0]}{sys.version_info[1]}-torch{torch.__version__}-'
        '{sysconfig.get_platform()}")'
    )
    tag = subprocess.run([PYTHON, '-c', describe], capture_output=True, text=True).stdout.strip()
    cache = base / 'sparsevit_mm' / 'wheels' / tag
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def build_mmcv(cache: Path) -> None:
    """Builds mmcv from its source distribution with all cores, showing how far it is."""
    if not any(map(shutil.which, ('g++', 'c++', 'clang++'))):
        raise SetUpError('mmcv must be built, but no C++ compiler was found: install g++.')
    cores = os.cpu_count() or 1
    print(f'  mmcv: building {MMCV} with {cores} cores (about 14 minutes on 2; once, then cached)')
    started = time.monotonic()
    scratch = VENV / 'mmcv_build'
    shutil.rmtree(scratch, ignore_errors=True)
    command = [PYTHON, '-m', 'pip', 'wheel', '-v', '--no-deps', '--no-build-isolation']
    command += ['--no-binary=mmcv', '--no-cache-dir', f'--wheel-dir={scratch}', MMCV]
    environment = dict(os.environ, MAX_JOBS=str(cores), MMCV_WITH_OPS='1')
    with LOG.open('a') as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            env=environment,
        )
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            progress = re.match(r'\s*\[(\d+)/(\d+)\]', line)
            if progress:
                show_progress(int(progress[1]), int(progress[2]), time.monotonic() - started)
    print()
    wheels = list(scratch.glob('mmcv-*.whl'))
    if process.wait() or not wheels:
        raise SetUpError(f'mmcv could not be built; the last lines of {LOG} say why.\n{log_tail()}')
    wheel = strip_wheel(wheels[0], scratch)
    # Under its final name only when complete, so that an interrupted copy is never picked up.
    shutil.copy2(wheel, cache / f'.{wheel.name}')
    (cache / f'.{wheel.name}').rename(cache / wheel.name)
    shutil.rmtree(scratch, ignore_errors=True)


def strip_wheel(wheel: Path, scratch: Path) -> Path:
    """Removes debug symbols, which are most of the wheel; returns the smaller wheel."""
    if not shutil.which('strip'):
        return wheel
    unpacked, packed = scratch / 'unpacked', scratch / 'packed'
    packed.mkdir(parents=True)
    if run([PYTHON, '-m', 'wheel', 'unpack', '--dest', unpacked, wheel]):
        return wheel
    (content,) = unpacked.iterdir()
    libraries = list(content.rglob('*.so'))
    if run(['strip', '--strip-unneeded', *libraries]):
        return wheel
    if run([PYTHON, '-m', 'wheel', 'pack', '--dest-dir', packed, content]):
        return wheel
    return next(packed.glob('*.whl'))


def show_progress(done: int, total: int, seconds: float) -> None:
    """Draws one line that overwrites itself on a terminal, else a line every tenth file."""
    bar = '#' * round(30 * done / total)
    text = f'    [{bar:<30}] {done}/{total} files, {clock(seconds)}'
    if sys.stdout.isatty():
        print(f'\r{text}', end='', flush=True)
    elif done % 10 == 0 or done == total:
        print(text, flush=True)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Prints what is being done and how long it took; a terminal sees the time go by."""
    print(f'  {name} … ', end='', flush=True)
    started, ended = time.monotonic(), threading.Event()
    again = f'\r  {name} … ' if sys.stdout.isatty() else ''

    def tick() -> None:
        while not ended.wait(1):
            print(f'{again}{clock(time.monotonic() - started)}', end='', flush=True)

    ticking = threading.Thread(target=tick, daemon=True)
    if again:
        ticking.start()
    try:
        yield
    except BaseException:
        outcome = 'stopped'
        raise
    else:
        outcome = clock(time.monotonic() - started)
    finally:
        ended.set()
        if again:
            ticking.join()
        print(f'{again}{outcome}', flush=True)


def pip(*arguments: str) -> None:
    """Runs pip in the environment, output to the log."""
    if run([PYTHON, '-m', 'pip', *arguments]):
        raise SetUpError(
            f'pip {arguments[0]} failed (is a package index reachable?); the last lines of {LOG} '
            f'say why.\n{log_tail()}'
        )


def run(command: list[str | Path], log: bool = True) -> int:
    """Runs a command with its output in the log; returns its exit status."""
    words = [str(part) for part in command]
    if not log:
        return subprocess.run(words, capture_output=True).returncode
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open('a') as file:
        file.write(f'$ {" ".join(words)}\n')
        file.flush()
        return subprocess.run(words, stdout=file, stderr=subprocess.STDOUT).returncode


def log_tail(lines: int = 15) -> str:
    """The end of the log."""
    return '\n'.join(LOG.read_text(errors='replace').splitlines()[-lines:])


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f'{int(seconds // 60)}:{int(seconds % 60):02d}'


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
