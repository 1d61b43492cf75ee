"""The cache of compiled code: what is put comes back, and nothing else ever does."""

from __future__ import annotations

import os
import stat
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

import codegen.llvm.store
import codegen.no_links
import codegen.private_folder
from codegen.llvm.build import load, object_code
from codegen.llvm.emit import emit
from codegen.llvm.store import Entry, Store, key
from codegen.llvm.target import host
from codegen.loops.from_program import from_program
from tests.codegen.building import Building
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

# --- what is put comes back ----------------------------------------------------------------------


@pytest.mark.parametrize("entry", [ENTRY, Entry(b"", b""), Entry(b"\n" * 3, bytes(range(256)))])
def test_what_is_put_comes_back(store: Store, entry: Entry) -> None:
    assert store.get(KEY) is None
    assert store.put(KEY, entry.manifest, entry.code)
    assert store.get(KEY) == entry
    assert store.get(OTHER) is None
    assert store.trouble() == ""
    assert names(store) == [f"{KEY}.object"]


def test_the_file_says_what_it_holds(kept: Store) -> None:
    digests = [sha256(data).hexdigest() for data in (ENTRY.manifest, ENTRY.code)]
    head = (
        f"symprop object 1\nkey {KEY}\nmanifest {len(ENTRY.manifest)} {digests[0]}\n"
        f"code {len(ENTRY.code)} {digests[1]}\n"
    )
    assert place(kept).read_bytes() == head.encode() + ENTRY.manifest + ENTRY.code


def test_code_runs_from_the_store(kept: Store) -> None:
    p = Building("f", dtype="float64")
    p.step("out", "", "=", lambda: 7)
    code = object_code(emit(from_program(p.done("out")), host()), host())
    assert kept.put(OTHER, b"f", code)
    found = kept.get(OTHER)
    assert found is not None
    out = np.zeros((), np.float64)
    context = np.array([out.ctypes.data])
    load(found.code, (found.manifest.decode(),)).entry("f")(context.ctypes.data)
    assert out == 7


def test_a_later_entry_replaces_an_earlier_one(kept: Store) -> None:
    assert kept.put(KEY, b"new", b"code")
    assert kept.get(KEY) == Entry(b"new", b"code")


def test_keys_differ_where_any_part_does() -> None:
    lists = [[], [b""], [b"", b""], [b"ab"], [b"a", b"b"], [b"b", b"a"], [b"ab", b""], [b"abc"]]
    found = [key(parts) for parts in lists]
    assert len(set(found)) == len(lists)
    assert all(len(k) == 64 for k in found)
    assert key(iter([b"a", b"b"])) == key([b"a", b"b"])
    parts = (1).to_bytes(8, "little") + b"a" + (2).to_bytes(8, "little") + b"bc"
    assert key([b"a", b"bc"]) == sha256(parts).hexdigest()


@pytest.mark.parametrize(
    "bad", ["", "../x", "A" * 64, KEY[:-1], KEY + "\n", "/" + KEY[1:], "\0" * 64]
)
def test_what_is_no_key_is_refused(store: Store, bad: str) -> None:
    with pytest.raises(ValueError, match="a key is 64 hexadecimal digits"):
        store.get(bad)
    with pytest.raises(ValueError, match="a key is 64 hexadecimal digits"):
        store.put(bad, b"", b"")


# --- where it is ---------------------------------------------------------------------------------


def test_the_default_is_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Store().folder == tmp_path / "symprop" / "objects"


def test_without_a_home_nothing_is_kept_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(codegen.llvm.store, "cache_home", homeless)
    store = Store()
    assert not store.put(KEY, b"", b"")
    assert store.get(KEY) is None
    assert "this user has no home" in store.trouble()


@posix
def test_folder_and_files_are_the_users_alone(kept: Store) -> None:
    assert kept.folder is not None
    assert stat.S_IMODE(kept.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(place(kept).stat().st_mode) == 0o600


def is_not_used(store: Store, reason: str) -> None:
    """Neither read nor written, and the user can learn why; nothing raises."""
    assert store.get(KEY) is None
    assert not store.put(OTHER, b"", b"")
    assert store.get(OTHER) is None
    assert reason in store.trouble()
    assert store.folder is not None
    assert ascii(str(store.folder)) in store.trouble()
    fresh = Store(store.folder)  # as the doctor of another process asks
    assert reason in fresh.trouble()


@by_descriptor
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o701, 0o740, 0o1777])
def test_a_folder_open_to_others_is_not_used(kept: Store, mode: int) -> None:
    assert kept.folder is not None
    kept.folder.chmod(mode)
    is_not_used(kept, f"is open to other users (its mode is {mode:o}, not 700)")
    kept.folder.chmod(0o700)
    assert Store(kept.folder).get(KEY) == ENTRY


@by_descriptor
def test_a_folder_whose_place_others_can_change_is_not_used(kept: Store) -> None:
    assert kept.folder is not None
    kept.folder.parent.chmod(0o777)
    is_not_used(kept, "is in a folder that other users can write to")
    kept.folder.parent.chmod(0o1777)  # as /tmp: others cannot rename what is ours
    assert Store(kept.folder).get(KEY) == ENTRY


@by_descriptor
def test_a_folder_of_another_user_is_not_used(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept.folder is not None
    kept.folder.parent.chmod(0o755)
    us = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)
    reason = "belongs to another user" if us == 0 else "is in a folder of another user"
    is_not_used(kept, reason)


@root
@by_descriptor
@pytest.mark.parametrize("which", ["folder", "around", "file"])
def test_what_was_given_to_another_user_is_not_used(kept: Store, which: str) -> None:
    assert kept.folder is not None
    given = {"folder": kept.folder, "around": kept.folder.parent, "file": place(kept)}[which]
    os.chown(given, 12345, 12345)
    if which == "file":
        is_a_miss_and_can_be_replaced(kept)
    else:
        is_not_used(kept, "another user")


@pytest.mark.parametrize("which", ["folder", "around"])
def test_a_link_in_place_of_the_folder_is_not_followed(kept: Store, which: str) -> None:
    assert kept.folder is not None
    linked = {"folder": kept.folder, "around": kept.folder.parent}[which]
    away = linked.with_name("away")
    linked.rename(away)
    linked.symlink_to(away, target_is_directory=True)
    is_not_used(kept, "is a link or a file, or lies in one")


def test_a_link_above_the_two_folders_is_the_users_business(kept: Store, tmp_path: Path) -> None:
    """Many have moved ~/.cache to another disk."""
    (tmp_path / "linked").symlink_to(tmp_path, target_is_directory=True)
    assert Store(tmp_path / "linked" / "symprop" / "objects").get(KEY) == ENTRY


@pytest.mark.parametrize("which", ["folder", "around"])
def test_a_file_in_place_of_the_folder_is_no_failure(tmp_path: Path, which: str) -> None:
    folder = tmp_path / "symprop" / "objects"
    if which == "folder":
        folder.parent.mkdir()
    {"folder": folder, "around": folder.parent}[which].write_bytes(b"")
    is_not_used(Store(folder), "is a link or a file, or lies in one")


def test_a_folder_that_cannot_be_made_is_no_failure(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "mkdir", full)
    is_not_used(store, "cannot be used (No space left on device)")


def test_a_folder_on_a_disk_that_is_read_only_is_read(
    kept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    real = os.open
    for name in ("mkdir", "replace", "utime", "unlink"):
        monkeypatch.setattr(os, name, refused)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    monkeypatch.setattr(
        os, "open", lambda p, f, *a, **k: (f & os.O_CREAT and refused()) or real(p, f, *a, **k)
    )
    monkeypatch.setattr(Path, "mkdir", refused)
    assert kept.get(KEY) == ENTRY
    assert not kept.put(OTHER, b"", b"")
    assert "Read-only file system" in kept.trouble()


# --- how much is kept ----------------------------------------------------------------------------


def test_the_entries_used_last_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codegen.llvm.store, "ENTRIES", 3)
    keys = [key([bytes([n])]) for n in range(4)]
    for age, k in enumerate(keys[:3]):
        assert store.put(k, b"", b"")
        os.utime(place(store, k), (age, age))
    assert store.get(keys[0]) == Entry(b"", b"")  # used again, so that it is no longer the oldest
    assert store.put(keys[3], b"", b"")
    assert [store.get(k) is not None for k in keys] == [True, False, True, True]


def test_the_bytes_of_all_entries_are_bounded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [key([bytes([n])]) for n in range(5)]
    for age, k in enumerate(keys):
        assert store.put(k, b"", bytes(1000))
        os.utime(place(store, k), (age, age))
    monkeypatch.setattr(codegen.llvm.store, "BYTES", 3 * place(store, keys[0]).stat().st_size)
    assert store.put(KEY, b"", bytes(1000))
    assert [store.get(k) is not None for k in [*keys, KEY]] == [False] * 3 + [True] * 3


def test_the_new_entry_is_kept_whatever_the_times_of_the_others(
    kept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock may have gone backwards."""
    monkeypatch.setattr(codegen.llvm.store, "ENTRIES", 1)
    os.utime(place(kept), (time.time() + 1e6,) * 2)
    assert kept.put(OTHER, b"", b"")
    assert names(kept) == [f"{OTHER}.object"]


def test_files_of_others_are_never_removed(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codegen.llvm.store, "ENTRIES", 1)
    others = ["note.object", "README", f"{KEY}.object.old", f".{KEY}.object.{'0' * 15}.unfinished"]
    for name in others:
        place(kept).with_name(name).write_bytes(b"")
        os.utime(place(kept).with_name(name), (1, 1))
    assert kept.put(OTHER, b"", b"")
    assert names(kept) == sorted([*others, f"{OTHER}.object"])


def test_what_another_process_is_writing_is_left_alone(kept: Store) -> None:
    beside = place(kept).with_name(f".{KEY}.object.{'0' * 16}.unfinished")
    beside.write_bytes(b"")
    assert kept.put(OTHER, b"", b"")
    assert beside.exists()
    os.utime(beside, (1, 1))
    assert kept.put(OTHER, b"", b"")
    assert not beside.exists()
