"""The files of an exported folder, read without following a link and compared with digests.

In: a folder. Out: `Files`, to be used in a `with`.
Guarantees: where the system has descriptors of folders, the folder is opened once and what is in
it is reached from there; a folder or a file that is a link, a file that is not a regular one, or
has another size or SHA-256 than the manifest says, is a DataError. What `vouched` returns are the
bytes that were compared.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from types import TracebackType

from symprop.errors import DataError, quoted
from symprop.manifest import File

__all__ = ["Files"]

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _NO_LINK
# Not to wait for ever on a pipe that nobody writes to.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | _NO_LINK


class Files:
    """An open folder."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(folder)
        self.where = quoted(os.fspath(folder))
        self.handle: int | None = None

    def __enter__(self) -> Files:
        if os.path.islink(self.path):
            raise DataError(
                f"{self.where} is a symbolic link, which is not followed: give the folder that it "
                "points to"
            )
        if not os.path.isdir(self.path):
            raise DataError(f"there is no folder {self.where}: give one that trainer.export wrote")
        if os.open in os.supports_dir_fd:
            try:
                self.handle = os.open(self.path, _FOLDER)
            except OSError as error:
                raise DataError(f"{self.where} cannot be opened: {error.strerror}") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.handle is not None:
            os.close(self.handle)
            self.handle = None

    def read(self, name: str, most: int) -> bytes:
        """The bytes of a file of at most `most` bytes."""
        path = name if self.handle is not None else os.path.join(self.path, name)
        try:
            file = os.open(path, _READ, dir_fd=self.handle)
        except FileNotFoundError as error:
            raise DataError(
                f"{self.where} has no file {quoted(name)}: it is not what trainer.export wrote"
            ) from error
        except OSError as error:
            raise DataError(
                f"{quoted(name)} in {self.where} cannot be read, or is a symbolic link: "
                f"{error.strerror}"
            ) from error
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                raise DataError(f"{quoted(name)} in {self.where} is not a regular file")
            if found.st_size > most:
                raise self.changed(name)
            with os.fdopen(file, "rb", closefd=False) as opened:
                return opened.read(most + 1)
        finally:
            os.close(file)

    def vouched(self, name: str, files: Mapping[str, File]) -> bytes:
        """The bytes of a file, which are those that the manifest says."""
        if name not in files:
            raise DataError(f"the manifest in {self.where} does not list {quoted(name)}")
        told = files[name]
        data = self.read(name, told.bytes)
        if len(data) != told.bytes or hashlib.sha256(data).hexdigest() != told.sha256:
            raise self.changed(name)
        return data

    def changed(self, name: str) -> DataError:
        return DataError(
            f"{quoted(name)} in {self.where} is not the file that was exported (its size or its "
            "SHA-256 differs), so nothing of it was loaded: export the step again"
        )
