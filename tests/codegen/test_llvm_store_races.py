"""The cache of compiled code while other processes read, write and are killed."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import codegen.llvm.store
import codegen.no_links
import codegen.private_folder
from codegen.llvm.store import Entry, Store
from tests.codegen.storing import ENTRY, KEY, OTHER, names, place, posix


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
