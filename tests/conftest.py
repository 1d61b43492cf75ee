"""What every test runs in: nothing is written to the cache of the user who runs the tests, and
Ctrl-C is heard."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _listening() -> Iterator[None]:
    """Ctrl-C as a terminal has it: what a shell starts in the background ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of the digits step, made once."""
    from tests.exported import trainer

    folder = tmp_path_factory.mktemp("export") / "digits"
    trainer().export(folder)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy of that export, to be spoilt."""
    return Path(shutil.copytree(original, tmp_path / "digits"))
