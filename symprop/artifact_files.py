"""The files of an exported folder, read without following a link and compared with digests.

In: a folder. Out: `Files`, to be used in a `with`.
Guarantees: where the system has descriptors of folders, the folder is opened once and what is in
it is reached from there (`codegen.no_links`); a folder or a file that is a link, a file that is
not a regular one, or has another size or SHA-256 than the manifest says, is a DataError. What
`vouched` returns are the bytes that were compared.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from types import TracebackType

from codegen import no_links
from codegen.no_links import UnfitError
from symprop.errors import DataError, quoted
from symprop.manifest import File

__all__ = ["Files"]


class Files:
    """An open folder."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(folder)
        self.where = quoted(os.fspath(folder))
        self.handle: int | None = None
        self._open = ExitStack()

    def __enter__(self) -> Files:
        if os.path.islink(self.path):
            raise DataError(
                f"{self.where} is a symbolic link, which is not followed: give the folder that it "
                "points to"
            )
        if not os.path.isdir(self.path):
            raise DataError(f"there is no folder {self.where}: give one that trainer.export wrote")
        try:
            self.handle = self._open.enter_context(no_links.folder(self.path))
        except UnfitError as error:
            raise DataError(f"{self.where} {error}") from error
        except OSError as error:
            raise DataError(f"{self.where} cannot be opened: {error.strerror}") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()
        self.handle = None

    def read(self, name: str, most: int) -> bytes:
        """The bytes of a file of at most `most` bytes."""
        try:
            with no_links.file(self._inside(name), self.handle) as (file, found):
                if found.st_size > most:
                    raise self.changed(name)
                return no_links.whole(file, found.st_size)
        except FileNotFoundError as error:
            raise DataError(
                f"{self.where} has no file {quoted(name)}: it is not what trainer.export wrote"
            ) from error
        except UnfitError as error:
            raise DataError(f"{quoted(name)} in {self.where} {error}") from error
        except OSError as error:
            raise DataError(
                f"{quoted(name)} in {self.where} cannot be read: {error.strerror}"
            ) from error

    def vouched(self, name: str, files: Mapping[str, File]) -> bytes:
        """The bytes of a file, which are those that the manifest says."""
        if name not in files:
            raise DataError(f"the manifest in {self.where} does not list {quoted(name)}")
        told = files[name]
        data = self.read(name, told.bytes)
        if len(data) != told.bytes or hashlib.sha256(data).hexdigest() != told.sha256:
            raise self.changed(name)
        return data

    def check_rest(self, read: Collection[str], files: Mapping[str, File]) -> None:
        """Refuse another file of the manifest, beside those that were read, that is not the one
        written; it may have been taken away."""
        for name in files:
            if name not in read and self.has(name):
                self.vouched(name, files)

    def has(self, name: str) -> bool:
        """Whether there is anything of this name."""
        try:
            os.stat(self._inside(name), dir_fd=self.handle, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _inside(self, name: str) -> str:
        return name if self.handle is not None else os.path.join(self.path, name)

    def changed(self, name: str) -> DataError:
        return DataError(
            f"{quoted(name)} in {self.where} is not the file that was exported (its size or its "
            "SHA-256 differs), so nothing of it was loaded: export the step again"
        )
