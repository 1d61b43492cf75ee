"""Folders and files that are opened as they are named: no link in their place is followed.

In: a path, or a name in an open folder. Out: ``folder``, a descriptor of it; ``file``, a descriptor
of a regular file with what is known of it; ``whole``, all bytes of a file.

Guarantees, where the system has POSIX's calls: what is in a folder is reached from its descriptor,
so that nothing can be put in its place meanwhile; what is known of a file is read from the
descriptor that its bytes are read from; nobody waits for a pipe. On other systems (Windows) a
folder has no descriptor: a link or junction is refused by looking before opening and comparing
after.

It asks nothing about owners and modes: ``private_folder`` does. Raises ``UnfitError`` for what is
refused, and OSError where the system refuses.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["DESCRIPTORS", "NO_LINK", "UnfitError", "file", "folder", "whole"]

# What some system lacks is 0: without descriptors of folders, paths are compared instead.
DESCRIPTORS = {os.open, os.mkdir, os.rename, os.stat, os.unlink} <= os.supports_dir_fd
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | NO_LINK
# Not to wait for ever on a pipe that nobody writes to.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | NO_LINK

_LINK = "is a link or a file, or lies in one"


class UnfitError(Exception):
    """A folder or file that is not trusted; the text says why, to stand after its name."""


@contextmanager
def folder(path: str | os.PathLike[str], around: int | None = None) -> Iterator[int | None]:
    """The descriptor of a folder, named in the folder ``around`` where that is given; None on a
    system that has no such descriptors."""
    if not DESCRIPTORS:
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode) or _junction(found):
            raise UnfitError(_LINK)
        yield None
        return
    try:
        handle = os.open(path, _FOLDER, dir_fd=around)
    except OSError:
        found = os.stat(path, dir_fd=around, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            raise UnfitError(_LINK) from None
        raise
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def file(
    path: str | os.PathLike[str], around: int | None = None
) -> Iterator[tuple[int, os.stat_result]]:
    """The descriptor of a regular file, to read from, and what is known of it."""
    before = os.stat(path, dir_fd=around, follow_symlinks=False)
    if stat.S_ISLNK(before.st_mode):
        raise UnfitError("is a link")
    handle = os.open(path, _READ, dir_fd=around)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise UnfitError("is not a regular file")
        if not DESCRIPTORS and (_junction(before) or not os.path.samestat(found, before)):
            raise UnfitError("is a link, or was replaced")
        yield handle, found
    finally:
        os.close(handle)


def whole(handle: int, size: int) -> bytes:
    """All bytes of a file, which must have the size it was said to have."""
    pieces: list[bytes] = []
    left = size + 1  # one more: to see that it ends
    while left and (piece := os.read(handle, left)):
        pieces.append(piece)
        left -= len(piece)
    if left != 1:
        raise UnfitError("changed while it was read")
    return b"".join(pieces)


def _junction(found: os.stat_result) -> bool:
    """Whether Windows would go on elsewhere from here."""
    attributes = getattr(found, "st_file_attributes", 0)
    return bool(attributes & stat.FILE_ATTRIBUTE_REPARSE_POINT)
