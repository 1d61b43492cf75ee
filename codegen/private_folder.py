"""A folder that only this user can write to, and files in it that are read as they were checked.

In: the path of a folder. Out: ``opened(path)``: a ``Folder``, with ``read``, ``write``, ``remove``
and ``files``.

Guarantees, where the system has POSIX's calls: the folder and the one around it are opened without
following a link, and owner and mode are read from the open descriptor; everything inside is reached
from that descriptor, so that nothing can be put in its place meanwhile. The folder is the user's
and closed to all others (0700); the one around it is the user's or root's, and others cannot rename
what is in it. A file is read whole, from one descriptor, if it is a regular file of the user, with
no second name, that nobody else may write; and it appears whole or not at all, even after a crash.

On Windows there are no such modes and descriptors: who may write is left to the access list of the
user's profile, in which the folder lies. A link or junction in place of the folder or of a file is
refused, as is a second name, by looking before opening and comparing after.

It does not protect from programs that run as this user: they could as well change this module.
Raises ``UnfitError`` for what is refused, and OSError where the system refuses.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from codegen import no_links
from codegen.no_links import UnfitError

__all__ = ["UNFINISHED", "Folder", "UnfitError", "opened"]

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | no_links.NO_LINK

UNFINISHED = ".unfinished"


@contextmanager
def opened(path: Path, make: bool) -> Iterator[Folder]:
    """The folder of an absolute path; with ``make``, made where it is not there."""
    if make:
        with suppress(FileExistsError):  # a file there, or a link to nowhere: said below
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with no_links.folder(path.parent) as around:
        if around is not None:
            _check_around(os.fstat(around))
        own = path if around is None else Path(path.name)
        if make:
            with suppress(FileExistsError):
                os.mkdir(own, 0o700, dir_fd=around)
        with no_links.folder(own, around) as handle:
            if handle is not None:
                _check_own(os.fstat(handle))
            yield Folder(path, handle)


@dataclass(frozen=True)
class Folder:
    """An open folder; ``handle`` is its descriptor, where the system has such. Names are without
    separators: the caller's, never a user's."""

    path: Path
    handle: int | None

    def read(self, name: str, most: int) -> bytes:
        """The bytes of a file, which is marked as used now."""
        where = self._where(name)
        with no_links.file(where, self.handle) as (file, found):
            _check_file(found, most, self.handle is not None)
            data = no_links.whole(file, found.st_size)
            with suppress(OSError):  # a cache on a disk that is read only is a cache still
                os.utime(file if os.utime in os.supports_fd else where)
        return data

    def write(self, name: str, data: bytes) -> None:
        """Makes or replaces a file: written beside its place, moved there.

        It is not flushed to disk, which would take longer than all else: who reads it has to tell
        the file of a machine that stopped meanwhile from a whole one.
        """
        beside = self._where(f".{name}.{os.urandom(8).hex()}{UNFINISHED}")
        file = os.open(beside, _NEW, 0o600, dir_fd=self.handle)
        try:
            try:
                _put(file, data)
            finally:
                os.close(file)
            os.replace(beside, self._where(name), src_dir_fd=self.handle, dst_dir_fd=self.handle)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside, dir_fd=self.handle)
            raise

    def files(self) -> list[tuple[str, os.stat_result]]:
        """The names in the folder, in order, with what is known of each; links are not followed."""
        found = []
        for name in sorted(os.listdir(self.path if self.handle is None else self.handle)):
            with suppress(FileNotFoundError):
                where = self._where(name)
                status = os.stat(where, dir_fd=self.handle, follow_symlinks=False)
                found.append((name, status))
        return found

    def remove(self, name: str) -> None:
        """Removes a file, or a link itself, where that can be done."""
        with suppress(OSError):
            os.unlink(self._where(name), dir_fd=self.handle)

    def writable(self) -> bool:
        """Whether files can be made in it, as far as can be said without making one."""
        return os.access(self._where("."), os.W_OK | os.X_OK, dir_fd=self.handle)

    def _where(self, name: str) -> str:
        return name if self.handle is not None else str(self.path / name)


def _check_around(found: os.stat_result) -> None:
    if found.st_uid not in (0, os.geteuid()):
        raise UnfitError("is in a folder of another user")
    if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
        raise UnfitError("is in a folder that other users can write to")


def _check_own(found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise UnfitError("belongs to another user")
    if found.st_mode & 0o077:
        raise UnfitError(
            f"is open to other users (its mode is {stat.S_IMODE(found.st_mode):o}, not 700)"
        )


def _check_file(found: os.stat_result, most: int, owned: bool) -> None:
    """Refuse a file that others can change; ``owned`` where the system has owners and modes."""
    if found.st_nlink > 1:  # 0 where another process has just replaced it
        raise UnfitError("has a second name")
    if found.st_size > most:
        raise UnfitError("is too large")
    if owned and (found.st_uid != os.geteuid() or found.st_mode & 0o022):
        raise UnfitError("can be written by another user")


def _put(file: int, data: bytes) -> None:
    """Writes all of it; a call may write less."""
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]
