"""Files that are written whole or not at all, and weights as safetensors.

In: named arrays, or named bytes.
Out: files; or, from a file of weights, arrays that fit the expected ones exactly.
Guarantees: a file or folder is written beside its place, flushed to disk and then renamed, so a
crash leaves the old one or the new one; the same arrays give the same bytes; loading checks every
name, shape and dtype before anything is handed back, and runs no code from the file.

It does not read pickles, NumPy archives or any format but safetensors, and follows no symbolic
link when it writes.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from symprop.errors import DataError, listed, quoted

__all__ = ["check_folder", "read_weights", "write_file", "write_folder", "write_weights"]

Array = NDArray[Any]

# One key only: the library keeps metadata in a hash map, and two keys would not have a fixed order.
METADATA = {"format": "symprop 1"}

# What the header of an honest file may take: a constant and so much for each array.
HEADER_BYTES, HEADER_BYTES_PER_ARRAY = 4096, 1024

DTYPES = {"BOOL": "|b1", "I32": "<i4", "I64": "<i8", "F32": "<f4", "F64": "<f8"}


def weights_bytes(arrays: Mapping[str, Array]) -> bytes:
    """The arrays in the safetensors layout; the same arrays give the same bytes."""
    from safetensors.numpy import save

    # require, not ascontiguousarray: the latter turns a scalar into a vector.
    whole = {name: np.require(array, requirements=["C"]) for name, array in arrays.items()}
    return bytes(save(whole, metadata=METADATA))


def write_weights(path: str | os.PathLike[str], arrays: Mapping[str, Array]) -> None:
    """Write the arrays to `path`, whole or not at all."""
    write_file(path, weights_bytes(arrays))


def read_weights(path: str | os.PathLike[str], expected: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays in the file at `path`, which must have the names, shapes and dtypes of `expected`.

    Guarantees: the file's size is checked before it is read, all of it before anything is returned.
    """
    allowed = sum(array.nbytes for array in expected.values())
    allowed += HEADER_BYTES + HEADER_BYTES_PER_ARRAY * len(expected)
    return weights_in(quoted(os.fspath(path)), read_regular(path, allowed), expected)


def weights_in(where: str, data: bytes, expected: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays in the bytes of a file called `where`; see `read_weights`."""
    import safetensors

    try:
        found = dict(safetensors.deserialize(data))
    except Exception as error:  # the library raises one class for a bad file, another for bad UTF-8
        raise DataError(f"{where} is not a whole safetensors file: {quoted(error)}") from error
    check_same_names(where, found, expected)
    arrays: dict[str, Array] = {}
    for name, array in expected.items():
        entry = found[name]
        shape, dtype = tuple(entry["shape"]), DTYPES.get(str(entry["dtype"]))
        if shape != array.shape or dtype is None or np.dtype(dtype) != array.dtype:
            raise DataError(
                f"{quoted(name)} in {where} is {entry['dtype']} {shape}, but the model expects "
                f"{array.dtype} {array.shape}: load it into the model that wrote it"
            )
        raw = np.frombuffer(entry["data"], dtype=dtype)
        arrays[name] = raw.reshape(shape).astype(array.dtype, copy=True)
    return arrays


def check_same_names(where: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    missing = [name for name in expected if name not in found]
    if missing:
        raise DataError(f"{where} lacks {listed(missing[:5])}, which the model has")
    unknown = sorted(name for name in found if name not in expected)
    if unknown:
        raise DataError(f"{where} holds {listed(unknown[:5])}, which the model does not have")


def read_regular(path: str | os.PathLike[str], most: int) -> bytes:
    """The bytes of a regular file of at most `most` bytes."""
    where = quoted(os.fspath(path))
    # Not to wait for ever on a pipe that nobody writes to; there is no such flag on Windows.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise DataError(f"{where} is not a regular file")
            if status.st_size > most:
                raise DataError(
                    f"{where} has {status.st_size} bytes, but this model's weights take at most "
                    f"{most}: it was written by another model"
                )
            return file.read(most)
    except OSError as error:
        raise DataError(f"{where} cannot be read: {error.strerror}") from error


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write the bytes to `path`, whole or not at all; an existing file keeps its permissions."""
    target = Path(path)
    with reported(target):
        if target.is_symlink():
            raise linked(target)
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~umask()
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}.")
        try:
            with os.fdopen(handle, "wb") as file:
                write_through(file, data)
            os.chmod(temporary, mode)
            os.replace(temporary, target)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        flush_folder(target.parent)


def check_folder(path: str | os.PathLike[str], names: Iterable[str]) -> None:
    """Refuse a place where `write_folder` would refuse to write files of these names."""
    target = Path(path)
    if target.is_symlink():
        raise linked(target)
    if not target.exists():
        return
    if not target.is_dir():
        raise DataError(f"{quoted(target)} is a file, not a folder: choose another place")
    known = set(names)
    foreign = sorted(entry.name for entry in target.iterdir() if entry.name not in known)
    if foreign:
        raise DataError(
            f"{quoted(target)} holds other files, such as {quoted(foreign[0])}: "
            "choose another or an empty folder"
        )


def write_folder(
    path: str | os.PathLike[str], files: Mapping[str, bytes], older: Iterable[str] = ()
) -> None:
    """Write the files into the folder `path`, which appears whole or not at all.

    An existing folder is replaced where it holds nothing but files of these names and of those in
    `older`: a file that this function would not have written is never removed.
    """
    target = Path(path)
    with reported(target):
        check_folder(target, [*files, *older])
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name[:40]}."))
        try:
            fresh, old = work / "new", work / "old"
            fresh.mkdir()
            for name, data in files.items():
                with open(fresh / name, "xb") as file:
                    write_through(file, data)
            flush_folder(fresh)
            if target.exists():
                os.rename(target, old)
            try:
                os.rename(fresh, target)
            except BaseException:
                if old.exists():
                    os.rename(old, target)
                raise
            flush_folder(target.parent)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def linked(target: Path) -> DataError:
    return DataError(
        f"{quoted(target)} is a symbolic link, which is not written through: "
        "give the path that it points to"
    )


def write_through(file: Any, data: bytes) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Make a rename last: on POSIX a folder is flushed as a file is; Windows has no such call."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot
            raise
    finally:
        os.close(handle)


def umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current


@contextmanager
def reported(target: Path) -> Iterator[None]:
    """Turn the system's error into one that says what was not written."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{quoted(target)} was not written: {error.strerror or error}") from error
