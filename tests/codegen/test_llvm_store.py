"""The cache of compiled code: what is put comes back, and nothing else ever does."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="modes and owners are POSIX's")
root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files away"
)

# Only where there are owners and modes: elsewhere that is left to the user's profile.
by_descriptor = pytest.mark.parametrize("store", ["descriptors"], indirect=True)

KEY, OTHER = key([b"this"]), key([b"another"])
ENTRY = Entry(b'{"name": "f"}', b"\x7fELF the code\n\n")


@pytest.fixture(params=["descriptors", "paths"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    """With POSIX's calls, and as on a system that lacks them."""
    if request.param == "paths":
        monkeypatch.setattr(codegen.no_links, "DESCRIPTORS", False)
    elif not codegen.no_links.DESCRIPTORS:
        pytest.skip("this system has no descriptors of folders")
    before = open_files()
    made = Store(tmp_path / "symprop" / "objects")
    yield made
    assert open_files() == before


@pytest.fixture
def kept(store: Store) -> Store:
    """With one entry."""
    assert store.put(KEY, ENTRY.manifest, ENTRY.code)
    return store


def open_files() -> int:
    here = Path("/proc/self/fd")
    return len(list(here.iterdir())) if here.is_dir() else 0


def place(store: Store, name: str = KEY) -> Path:
    assert store.folder is not None
    return store.folder / f"{name}.object"


def names(store: Store) -> list[str]:
    assert store.folder is not None
    return sorted(os.listdir(store.folder))


def is_a_miss_and_can_be_replaced(store: Store) -> None:
    assert store.get(KEY) is None
    assert store.put(KEY, ENTRY.manifest, ENTRY.code)
    assert store.get(KEY) == ENTRY
    assert place(store).lstat().st_nlink == 1
    assert stat.S_ISREG(place(store).lstat().st_mode)


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


# --- planted and damaged entries -----------------------------------------------------------------


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


# --- at the same time ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["replaced", "overwritten", "cut", "removed"])
def test_a_file_swapped_between_check_and_load_is_never_loaded(
    kept: Store, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """What was opened is what is hashed and handed out; what is at its name meanwhile is not."""
    evil = place(kept).read_bytes().replace(b"the code", b"bad code")
    real = os.fstat

    def swapping(file: int) -> os.stat_result:
        found = real(file)
        if stat.S_ISREG(found.st_mode) and place(kept).exists():
            if how == "replaced":
                beside = place(kept).with_suffix(".evil")
                beside.write_bytes(evil)
                beside.replace(place(kept))
            elif how == "overwritten":
                with place(kept).open("r+b") as file_:
                    file_.write(evil)
            elif how == "cut":
                os.truncate(place(kept), 20)
            else:
                place(kept).unlink()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", swapping)
        found = kept.get(KEY)
    expected = ENTRY if how in ("replaced", "removed") else None
    if how == "replaced" and not codegen.no_links.DESCRIPTORS:
        assert found in (ENTRY, None)
    else:
        assert found == expected
    assert kept.get(KEY) is None


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_that_changes_its_length_while_it_is_read_is_refused(
    kept: Store, monkeypatch: pytest.MonkeyPatch, change: int
) -> None:
    real, path = os.fstat, place(kept)

    def changing(file: int) -> os.stat_result:
        found = real(file)
        if stat.S_ISREG(found.st_mode):
            os.truncate(path, found.st_size + change)
        return found

    with codegen.private_folder.opened(path.parent, make=False) as folder:
        monkeypatch.setattr(os, "fstat", changing)
        with pytest.raises(codegen.private_folder.UnfitError, match="changed while it was read"):
            folder.read(path.name, 1000)
    monkeypatch.setattr(os, "fstat", real)


@pytest.mark.parametrize("name", ["read", "write"])
def test_a_system_may_read_and_write_piece_by_piece(
    store: Store, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = {"read": os.read, "write": os.write}
    pieces = {
        "read": lambda file, size: real["read"](file, min(size, 7)),
        "write": lambda file, data: real["write"](file, data[:7]),
    }
    monkeypatch.setattr(os, name, pieces[name])
    assert store.put(KEY, ENTRY.manifest, ENTRY.code)
    assert store.get(KEY) == ENTRY


def test_an_entry_replaced_while_it_is_read_is_still_read(
    kept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its descriptor has no name left: no reason to refuse it."""
    real = os.fstat

    def replacing(file: int) -> os.stat_result:
        if stat.S_ISREG(real(file).st_mode):
            monkeypatch.setattr(os, "fstat", real)
            kept.put(KEY, b"new", b"code")
        return real(file)

    monkeypatch.setattr(os, "fstat", replacing)
    assert kept.get(KEY) == ENTRY
    assert kept.get(KEY) == Entry(b"new", b"code")


RACE = """
import sys
from pathlib import Path
from codegen.llvm import store
store.ENTRIES = 6  # so that entries are removed as well
mine, folder = int(sys.argv[1]), Path(sys.argv[2])
keys = [store.key([bytes([n])]) for n in range(8)]
cache, found, wrong = store.Store(folder), 0, 0
for turn in range(150):
    k = keys[(turn * 5 + mine) % 8]
    size = 1000 * (turn % 7) + mine
    assert cache.put(k, k.encode() + bytes([mine]), bytes([mine]) * size), cache.trouble()
    for k in keys:
        entry = cache.get(k)
        if entry is not None:
            found += 1
            who = entry.manifest[-1]
            right = entry.manifest[:-1] == k.encode() and set(entry.code) <= {who}
            wrong += not right or len(entry.code) % 1000 != who
print(found > 0, wrong)
"""


def test_processes_that_write_at_once_read_whole_entries(tmp_path: Path) -> None:
    folder = tmp_path / "symprop" / "objects"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(n), str(folder)], stdout=subprocess.PIPE, text=True
        )
        for n in range(3)
    ]
    said = [child.communicate(timeout=60)[0] for child in children]
    assert said == ["True 0\n"] * 3
    left = sorted(os.listdir(folder))
    assert all(name.endswith(".object") for name in left)
    assert len(left) <= 8


# Ends itself at the n-th call of the system, for n = 1, 2, ... until an entry is written in full.
KILLED = """
import os, signal, sys
from pathlib import Path
from codegen.llvm import store
folder, calls = Path(sys.argv[1]), 0
def dying(real, n):
    def call(*arguments, **named):
        global calls
        calls += 1
        if calls == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)
    return call
n, ended = 0, None
while ended != 0:
    n += 1
    child = os.fork()
    if not child:
        for name in ("open", "mkdir", "fstat", "write", "fsync", "close", "replace", "listdir"):
            setattr(os, name, dying(getattr(os, name), n))
        os._exit(not store.Store(folder).put(sys.argv[2], b"manifest", bytes(100_000)))
    ended = os.waitpid(child, 0)[1]
    entry = store.Store(folder).get(sys.argv[2])
    assert entry in (None, store.Entry(b"manifest", bytes(100_000))), n
    for name in os.listdir(folder) if folder.is_dir() else []:
        if name.endswith(".object"):
            assert entry is not None, n
            os.unlink(folder / name)
print(n)
"""


@posix
def test_a_process_killed_at_any_call_leaves_a_whole_entry_or_none(tmp_path: Path) -> None:
    folder = tmp_path / "symprop" / "objects"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), KEY], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 10
    assert any(name.endswith(".unfinished") for name in os.listdir(folder))
    for name in os.listdir(folder):  # as if it were long ago
        os.utime(folder / name, (1, 1))
    store = Store(folder)
    assert store.put(OTHER, b"", b"")
    assert names(store) == [f"{OTHER}.object"]


WRITING = """
import sys
from pathlib import Path
from codegen.llvm.store import Store
cache = Store(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    for n in range(1, 4):
        cache.put(sys.argv[2], bytes([n]), bytes([n]) * 3_000_000)
"""


@posix
def test_a_process_killed_while_it_writes_leaves_a_whole_entry_or_none(tmp_path: Path) -> None:
    folder, r = tmp_path / "symprop" / "objects", random.Random(0)
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITING, str(folder), KEY], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(r.uniform(0, 0.05))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        found = Store(folder).get(KEY)
        if place(Store(folder)).exists():
            assert found is not None
            assert found.code == found.manifest * 3_000_000


@pytest.mark.parametrize("name", ["mkdir", "open", "write", "fsync", "replace", "fstat", "close"])
def test_a_system_that_refuses_a_call_is_no_failure(
    store: Store, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The first, the second, ... call of each kind fails: stored whole or not, and nothing left."""
    real: Callable[..., object] = getattr(os, name)
    for fails in range(1, 9):
        calls = 0

        def failing(*arguments: object, fails: int = fails, **named: object) -> object:
            nonlocal calls
            calls += 1
            result = real(*arguments, **named) if name == "close" or calls != fails else None
            if calls == fails:
                raise OSError(5, "Input/output error")
            return result

        with monkeypatch.context() as patch:
            patch.setattr(os, name, failing)
            done = store.put(KEY, ENTRY.manifest, ENTRY.code)
            found = store.get(KEY)
        assert found in (None, ENTRY)
        assert store.get(KEY) == (ENTRY if done or place(store).exists() else None)
        if place(store).parent.is_dir():
            assert [n for n in names(store) if n != f"{KEY}.object"] == []
            place(store).unlink(missing_ok=True)


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
