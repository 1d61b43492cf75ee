"""Generated text as a real file, so that tracebacks, debuggers and profilers can show it.

In: the source of a module, and its name. Out: the path of a file that holds just that text, under
a name made of the hash of its bytes: ``<cache>/symprop/texts/training_step_1f0c....py``.

Guarantees: the folder is the user's own and nobody else can write to it, or a fresh private one is
made; a file appears whole or not at all, and one that holds something else is replaced; equal text
gives the same path. The texts used last are kept, ``KEPT`` of them; a file not named by this module
is never removed. Nothing that runs is ever read from here: what is compiled is the text itself.
Where no file can be written (a full disk, no place that is the user's) that is an ``OSError``.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import tempfile
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path

__all__ = ["cache_home", "source_file"]

KEPT = 500  # some megabytes; a process that still runs an older text only loses its lines
_OURS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*_[0-9a-f]{16}\.py")


def source_file(source: str, name: str) -> Path:
    """The file of a text; written now where it is not there.

    Raises OSError where it cannot be written.
    """
    data = source.encode()
    folder = _folder()
    path = folder / f"{name}_{blake2b(data, digest_size=8).hexdigest()}.py"
    try:
        if path.read_bytes() == data:
            os.utime(path)
            return path
    except OSError:
        pass
    _write(path, data)
    _prune(folder)
    return path


def _prune(folder: Path) -> None:
    """Removes the texts that were used longest ago; another process may be doing the same."""
    used: list[tuple[float, Path]] = []
    for path in folder.iterdir():
        with suppress(OSError):
            if _OURS.fullmatch(path.name):
                used.append((path.stat().st_mtime, path))
    for _, path in sorted(used)[:-KEPT]:
        with suppress(OSError):
            path.unlink()


def _write(path: Path, data: bytes) -> None:
    """The whole file or none: written beside it, then moved into its place."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def cache_home() -> Path:
    """Where this system keeps what a user can do without.

    Raises RuntimeError for a user without a home.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    if given and Path(given).is_absolute():
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path.home() / ".cache"


def _folder() -> Path:
    """The folder of the texts, private to this user; a temporary one where that cannot be had."""
    try:
        home = cache_home() / "symprop"
        folder = home / "texts"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _private(home) and _private(folder):
            return folder
    except (OSError, RuntimeError):
        pass
    return _temporary()


def _temporary() -> Path:
    """One private folder for this process; another where that was removed meanwhile."""
    folder = _made()
    if not folder.is_dir():
        _made.cache_clear()
        folder = _made()
    return folder


@cache
def _made() -> Path:
    return Path(tempfile.mkdtemp(prefix="symprop_"))


def _private(folder: Path) -> bool:
    """Whether a folder is the user's, no link, writable, and closed to others."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or not os.access(folder, os.W_OK | os.X_OK):
        return False
    owned = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    return owned and (sys.platform == "win32" or not found.st_mode & 0o022)
