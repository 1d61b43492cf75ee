"""Files: written whole or not at all, read only where they fit, no code run from them."""

import json
import os
import pickle
import stat
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from symprop import checkpoint
from symprop.checkpoint import read_weights, weights_bytes, write_file, write_folder, write_weights
from symprop.errors import DataError

ARRAYS = {
    "hidden.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "hidden.bias": np.ones(2, np.float64),
    "adam.steps": np.array(7, np.float32),
    "empty": np.zeros((0, 3), np.float32),
    "count": np.array([1, 2], np.int64),
    "on": np.array([True, False]),
}
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX files")


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert list(a) == list(b)
    for name in a:
        assert a[name].dtype == b[name].dtype
        np.testing.assert_array_equal(a[name], b[name])


def refused(path: Path, *words: str) -> None:
    with pytest.raises(DataError) as caught:
        read_weights(path, ARRAYS)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_round_trip(tmp_path: Path) -> None:
    write_weights(tmp_path / "w", ARRAYS)
    same(read_weights(tmp_path / "w", ARRAYS), ARRAYS)
    assert os.listdir(tmp_path) == ["w"]


def test_the_bytes_depend_on_the_arrays_alone() -> None:
    fortran = {name: np.array(array, order="F") for name, array in ARRAYS.items()}
    assert weights_bytes(ARRAYS) == weights_bytes(fortran)
    backwards = dict(reversed(ARRAYS.items()))
    assert weights_bytes(ARRAYS) == weights_bytes(backwards)


def test_truncated_at_every_byte(tmp_path: Path) -> None:
    data = weights_bytes(ARRAYS)
    path = tmp_path / "w"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        refused(path)


def test_flipped_bits_are_refused_or_change_values_only(tmp_path: Path) -> None:
    data = weights_bytes(ARRAYS)
    path = tmp_path / "w"
    rng = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(data)
        changed[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        try:
            found = read_weights(path, ARRAYS)
        except DataError:
            continue
        assert [a.shape for a in found.values()] == [a.shape for a in ARRAYS.values()]


class Trap:
    """A pickle that would leave a mark where it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.mkdir, ("executed",)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "w"
    path.write_bytes(pickle.dumps(Trap()))
    refused(path, "not a whole safetensors file")
    assert not (tmp_path / "executed").exists()


def crafted(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04" + b"\0" * 40,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 0),
        crafted(b"not json"),
        crafted(b"[" * 3000),
        crafted(
            {"hidden.bias": {"dtype": "F64", "shape": [2], "data_offsets": [0, 15]}}, b"0" * 16
        ),
        crafted(
            {"hidden.bias": {"dtype": "F64", "shape": [2], "data_offsets": [-1, 15]}}, b"0" * 16
        ),
        crafted({"a": {"dtype": "F64", "shape": [2**40, 2**40], "data_offsets": [0, 0]}}),
        crafted({"a": {"dtype": "O", "shape": [1], "data_offsets": [0, 8]}}, b"0" * 8),
        crafted({"../a": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}, b"0" * 8),
    ],
)
def test_crafted_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w"
    path.write_bytes(content)
    refused(path)


def test_another_models_weights(tmp_path: Path) -> None:
    path = tmp_path / "w"

    def put(**changes: np.ndarray | None) -> None:
        arrays = {**ARRAYS, **changes}
        write_weights(path, {n: a for n, a in arrays.items() if a is not None})

    put(count=None)
    refused(path, "lacks 'count'")
    put(more=np.zeros(1))
    refused(path, "'more'", "does not have")
    put(count=np.zeros(3, np.int64))
    refused(path, "'count'", "(3,)", "(2,)")
    put(count=np.zeros(2, np.int32))
    refused(path, "'count'", "I32", "int64")
    put(count=np.zeros(2, np.float16))
    refused(path, "'count'", "F16")
    put(count=np.zeros(100_000, np.int64))
    refused(path, "another model")


def test_places_that_cannot_be_read(tmp_path: Path) -> None:
    refused(tmp_path / "absent", "'", "cannot be read")
    refused(tmp_path)


@posix
def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "regular file")


@posix
def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(target)
    with pytest.raises(DataError, match="symbolic link"):
        write_file(link, b"new")
    with pytest.raises(DataError, match="symbolic link"):
        write_folder(link, {"a": b"new"})
    assert target.read_bytes() == b"old"


@posix
def test_permissions(tmp_path: Path) -> None:
    path = tmp_path / "w"
    previous = os.umask(0o027)
    try:
        write_file(path, b"1")
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o600)
    write_file(path, b"2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("call", ["fsync", "replace", "rename", "chmod"])
def test_a_fault_leaves_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    write_file(tmp_path / "file", b"old")
    write_folder(tmp_path / "folder", {"a": b"old"})

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, call, fail)
    if call != "rename":
        with pytest.raises(DataError, match="No space left"):
            write_file(tmp_path / "file", b"new")
        assert (tmp_path / "file").read_bytes() == b"old"
    if call in ("fsync", "rename"):
        with pytest.raises(DataError, match="No space left"):
            write_folder(tmp_path / "folder", {"a": b"new"})
        assert (tmp_path / "folder" / "a").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_the_second_rename_of_a_folder_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "folder", {"a": b"old"})
    rename = os.rename

    def fail_on_new(source: Path, target: Path) -> None:
        if source.name == "new":
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(checkpoint.os, "rename", fail_on_new)
    with pytest.raises(DataError, match="Input/output"):
        write_folder(tmp_path / "folder", {"a": b"new"})
    assert (tmp_path / "folder" / "a").read_bytes() == b"old"


def test_a_folder_with_other_files_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "folder"
    write_folder(folder, {"a": b"1", "b": b"2"})
    write_folder(folder, {"a": b"3", "b": b"4"})
    assert (folder / "a").read_bytes() == b"3"
    (folder / "thesis.txt").write_text("precious")
    with pytest.raises(DataError, match=r"thesis\.txt"):
        write_folder(folder, {"a": b"5", "b": b"6"})
    assert (folder / "thesis.txt").read_text() == "precious"
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file, not a folder"):
        write_folder(tmp_path / "file", {"a": b"1"})


@pytest.mark.skipif(sys.platform == "win32" or not hasattr(os, "geteuid"), reason="POSIX")
def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="was not written"):
        write_file(tmp_path / "absent" / "w", b"1")
