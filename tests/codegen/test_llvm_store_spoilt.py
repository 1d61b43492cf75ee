"""The cache of compiled code: planted and damaged entries are misses and can be replaced."""

from __future__ import annotations

import os
import random
import signal
import stat
from pathlib import Path

import pytest

import codegen.llvm.store
import codegen.no_links
import codegen.private_folder
from codegen.llvm.store import Store
from tests.codegen.storing import (
    ENTRY,
    KEY,
    OTHER,
    by_descriptor,
    is_a_miss_and_can_be_replaced,
    names,
    place,
    posix,
    root,
)


def test_an_entry_cut_at_any_byte_is_a_miss(kept: Store) -> None:
    whole = place(kept).read_bytes()
    for length in reversed(range(len(whole))):
        os.truncate(place(kept), length)
        assert kept.get(KEY) is None, length
    for longer in (whole + b"\0", whole + whole, b"\n" + whole):
        place(kept).write_bytes(longer)
        assert kept.get(KEY) is None
    place(kept).write_bytes(whole)
    assert kept.get(KEY) == ENTRY


def test_an_entry_with_any_bit_changed_is_a_miss(kept: Store) -> None:
    whole = place(kept).read_bytes()
    with place(kept).open("r+b", buffering=0) as file:
        for bit in range(8 * len(whole)):
            changed = whole[bit // 8] ^ 1 << bit % 8
            file.seek(bit // 8)
            file.write(bytes([changed]))
            assert kept.get(KEY) is None, bit
            file.seek(bit // 8)
            file.write(whole[bit // 8 : bit // 8 + 1])
    assert kept.get(KEY) == ENTRY
    place(kept).write_bytes(whole[:-1] + b"!")
    is_a_miss_and_can_be_replaced(kept)


def test_random_bytes_are_a_miss(kept: Store) -> None:
    r = random.Random(0)
    whole = place(kept).read_bytes()
    for _ in range(300):
        piece, at = r.randbytes(r.randrange(40)), r.randrange(len(whole))
        place(kept).write_bytes(whole[:at] + piece + whole[at + r.randrange(40) :])
        assert kept.get(KEY) in (None, ENTRY)
        assert (kept.get(KEY) == ENTRY) == (place(kept).read_bytes() == whole)


def test_an_entry_under_the_name_of_another_is_a_miss(kept: Store) -> None:
    assert kept.put(OTHER, b"other", b"code")
    place(kept, OTHER).replace(place(kept))
    is_a_miss_and_can_be_replaced(kept)


def test_the_manifest_of_another_entry_is_a_miss(kept: Store) -> None:
    assert kept.put(OTHER, ENTRY.manifest[::-1], ENTRY.code)
    mixed = place(kept).read_bytes().replace(ENTRY.manifest, ENTRY.manifest[::-1])
    place(kept).write_bytes(mixed)
    is_a_miss_and_can_be_replaced(kept)


@pytest.mark.parametrize(
    ("old", "new"), [(b"object 1", b"object 2"), (b" 13 ", b" 013 "), (b"\n", b"\r\n")]
)
def test_an_entry_of_another_version_or_spelling_is_a_miss(
    kept: Store, old: bytes, new: bytes
) -> None:
    whole = place(kept).read_bytes()
    assert old in whole
    place(kept).write_bytes(whole.replace(old, new))
    is_a_miss_and_can_be_replaced(kept)


def test_another_constant_of_the_same_size_and_time_is_a_miss(kept: Store) -> None:
    """Sizes and times are what some caches compare."""
    before = place(kept).stat()
    place(kept).write_bytes(place(kept).read_bytes().replace(b"the code", b"tho code"))
    os.utime(place(kept), ns=(before.st_atime_ns, before.st_mtime_ns))
    after = place(kept).stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    is_a_miss_and_can_be_replaced(kept)


@pytest.mark.parametrize("where", ["to itself", "to nowhere", "to a good entry"])
def test_a_link_in_place_of_an_entry_is_not_followed(
    kept: Store, tmp_path: Path, where: str
) -> None:
    good = tmp_path / "good"
    place(kept).rename(good)
    target = {"to itself": place(kept), "to nowhere": tmp_path / "none", "to a good entry": good}
    place(kept).symlink_to(target[where])
    is_a_miss_and_can_be_replaced(kept)
    assert good.stat().st_nlink == 1


def test_a_link_is_refused_without_the_systems_help(
    kept: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows cannot be told not to follow one: what is opened is compared with what was there."""
    monkeypatch.setattr(codegen.no_links, "DESCRIPTORS", False)
    monkeypatch.setattr(
        codegen.no_links,
        "_READ",
        codegen.no_links._READ & ~getattr(os, "O_NOFOLLOW", 0),
    )
    good = tmp_path / "good"
    place(kept).rename(good)
    place(kept).symlink_to(good)
    is_a_miss_and_can_be_replaced(kept)


def test_an_entry_with_a_second_name_is_a_miss(kept: Store, tmp_path: Path) -> None:
    os.link(place(kept), tmp_path / "second")
    is_a_miss_and_can_be_replaced(kept)
    assert (
        tmp_path / "second"
    ).stat().st_nlink == 1  # what the other name shows was not written to


@posix
def test_a_pipe_in_place_of_an_entry_is_not_waited_for(
    kept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: object) -> None:
        raise AssertionError("waited for a pipe that nobody writes to")

    def reading(*_: object) -> bytes:
        raise AssertionError("took what somebody wrote to a pipe")

    place(kept).unlink()
    os.mkfifo(place(kept))
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(10)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "read", reading)
            assert kept.get(KEY) is None
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    is_a_miss_and_can_be_replaced(kept)


def test_a_folder_in_place_of_an_entry_is_a_miss(kept: Store) -> None:
    place(kept).unlink()
    place(kept).mkdir()
    assert kept.get(KEY) is None
    assert not kept.put(KEY, b"", b"")
    assert names(kept) == [f"{KEY}.object"]
    assert kept.put(OTHER, ENTRY.manifest, ENTRY.code)
    assert kept.get(OTHER) == ENTRY


@root
def test_a_device_in_place_of_an_entry_is_a_miss(kept: Store) -> None:
    place(kept).unlink()
    try:
        os.mknod(place(kept), stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("devices cannot be made here")
    is_a_miss_and_can_be_replaced(kept)


@by_descriptor
@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_an_entry_that_others_can_write_is_a_miss(kept: Store, mode: int) -> None:
    place(kept).chmod(mode)
    is_a_miss_and_can_be_replaced(kept)


def test_an_entry_that_is_too_large_is_neither_kept_nor_read(
    kept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not kept.put(OTHER, b"", bytes(codegen.llvm.store.LARGEST))
    assert names(kept) == [f"{KEY}.object"]
    monkeypatch.setattr(codegen.llvm.store, "LARGEST", place(kept).stat().st_size - 1)
    assert kept.get(KEY) is None
