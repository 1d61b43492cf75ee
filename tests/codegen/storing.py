"""What the tests of the cache of compiled code share: an entry, its place, marks."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from codegen.llvm.store import Entry, Store, key

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="modes and owners are POSIX's")
root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files away"
)

# Only where there are owners and modes: elsewhere that is left to the user's profile.
by_descriptor = pytest.mark.parametrize("store", ["descriptors"], indirect=True)

KEY, OTHER = key([b"this"]), key([b"another"])
ENTRY = Entry(b'{"name": "f"}', b"\x7fELF the code\n\n")


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
