"""A cache of compiled code, empty and with an entry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import codegen.llvm.store
import codegen.no_links
import codegen.private_folder
from codegen.llvm.store import Store
from tests.codegen.storing import ENTRY, KEY, open_files


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
