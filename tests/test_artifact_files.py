"""Spoilt exports: nothing is loaded but what was written, and a sentence says why."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symprop as prop
from codegen.llvm.artifact_machine import architecture
from symprop import manifest as form
from symprop.manifest import MANIFEST, WEIGHTS
from tests.exported import (
    batch,
    described,
    image,
    refused,
    trainer,
)

pytest.importorskip("llvmlite")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="an export is for Linux")


def loads(folder: Path) -> Callable[[], Any]:
    return lambda: prop.load(folder)


@pytest.mark.parametrize("name", ["libdigits.so", WEIGHTS])
def test_a_file_that_is_not_the_one_written_is_not_loaded(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    rng = np.random.default_rng(0)
    spoilt = [b"", whole[:-1], whole + b"\0", b"\0" * len(whole)]
    for _ in range(20):
        place = int(rng.integers(len(whole)))
        changed = whole[place] ^ (1 << int(rng.integers(8)))
        spoilt.append(whole[:place] + bytes([changed]) + whole[place + 1 :])
    for data in spoilt:
        (folder / name).write_bytes(data)
        refused(loads(folder), name, "SHA-256")
    (folder / name).unlink()
    refused(loads(folder), name, "has no file")


def link(path: Path) -> None:
    path.rename(path.with_suffix(".away"))
    path.symlink_to(path.with_suffix(".away"))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


UNREAD = ["digits.h", "digits.o", "libdigits.a", "selftest.c"]  # where there is a shared library


@pytest.mark.parametrize("name", UNREAD)
def test_a_file_that_is_not_needed_is_the_one_written_or_not_there(folder: Path, name: str) -> None:
    """A header that says other things than the code does is as wrong as other code."""
    whole = (folder / name).read_bytes()
    for data in (b"", whole + b"\n", whole.replace(b"e", b"f", 1)):
        (folder / name).write_bytes(data)
        refused(loads(folder), name, "SHA-256")
    (folder / name).unlink()
    assert prop.load(folder).step(batch()) > 0


@pytest.mark.parametrize("change", [link, pipe, directory])
@pytest.mark.parametrize("name", ["libdigits.so", WEIGHTS, MANIFEST, "digits.h"])
def test_what_is_no_regular_file_is_not_loaded(
    folder: Path, name: str, change: Callable[[Path], None]
) -> None:
    change(folder / name)
    refused(loads(folder), name)


def test_a_folder_that_is_a_link_or_not_there_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    refused(loads(tmp_path / "link"), "symbolic link")
    refused(loads(tmp_path / "nowhere"), "no folder")
    refused(loads(folder / "digits.o"), "no folder")
    refused(loads(tmp_path), MANIFEST, "has no file")


def test_the_bytes_that_were_compared_are_those_that_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that is put there after the comparison is not the one that is loaded."""
    from symprop import artifact_files

    real = artifact_files.Files.vouched

    def swapping(self: Any, name: str, files: Any) -> bytes:
        data = real(self, name, files)
        (folder / name).write_bytes(b"planted")
        return data

    monkeypatch.setattr(artifact_files.Files, "vouched", swapping)
    assert prop.load(folder).step(batch()) > 0
    assert (folder / "libdigits.so").read_bytes() == b"planted"


def test_the_library_in_memory_is_sealed(folder: Path) -> None:
    from symprop.artifact_library import sealed

    handle = sealed(b"code", "libm.so")
    try:
        with pytest.raises(PermissionError):
            os.write(handle, b"x")
        with pytest.raises(PermissionError):
            os.ftruncate(handle, 1)
    finally:
        os.close(handle)


def test_two_artifacts_are_two_and_one_twice_is_one_code(folder: Path, tmp_path: Path) -> None:
    one, again = prop.load(folder), prop.load(folder)
    one.step(batch())
    assert not np.array_equal(one.parameters["hidden.weight"], again.parameters["hidden.weight"])
    image().compile("native").export(tmp_path / "m", name="digits")
    other = prop.load(tmp_path / "m")
    assert other.step({"x": np.ones((2, 1, 8, 8))}) != one.step(batch())


MANIFESTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another format": (lambda m: m | {"version": 2}, "format 2"),
    "no format": (lambda m: m | {"format": "x"}, "no manifest"),
    "another machine": (lambda m: m | {"machine": m["machine"] | {"architecture": "vax"}}, "vax"),
    "another system": (lambda m: m | {"machine": m["machine"] | {"system": "beos"}}, ""),
    "a newer processor": (
        lambda m: m | {"machine": m["machine"] | {"features": ["warp"]}},
        "processor with warp",
    ),
    "a path as a name": (lambda m: m | {"name": "../x"}, "not an identifier"),
    "no files": (lambda m: m | {"files": {}}, WEIGHTS),
    "a negative size": (
        lambda m: m | {"files": m["files"] | {WEIGHTS: {"sha256": "0" * 64, "bytes": -1}}},
        WEIGHTS,
    ),
    "a file elsewhere": (
        lambda m: m | {"files": m["files"] | {"../x.h": {"sha256": "0" * 64, "bytes": 1}}},
        "no name of a file",
    ),
    "no step": (lambda m: m | {"functions": {}}, "no function step"),
    "another function": (lambda m: m | {"functions": {"steal": {}}}, "steal"),
    "a list": (lambda m: [m], "not an object"),
    "nothing": (lambda m: None, "not an object"),
}


@pytest.mark.parametrize("what", list(MANIFESTS))
def test_a_manifest_that_cannot_be_used_is_refused(folder: Path, what: str) -> None:
    change, word = MANIFESTS[what]
    (folder / MANIFEST).write_text(json.dumps(change(described(folder))))
    if what == "another system":
        assert prop.load(folder).manifest.machine.system == "beos"
        return
    refused(loads(folder), word)


TEXTS = {
    "nothing": b"",
    "no text": b"\xff\xfe",
    "half": b'{"format": "symprop artifact"',
    "deep": b"[" * 100_000,
    "a key twice": b'{"format": "symprop artifact", "format": "symprop artifact"}',
    "NaN": b'{"format": NaN}',
    "a large number": b'{"format": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("what", list(TEXTS))
def test_bytes_that_are_no_manifest_are_refused(folder: Path, what: str) -> None:
    (folder / MANIFEST).write_bytes(TEXTS[what])
    refused(loads(folder), MANIFEST)


def test_any_change_of_the_manifest_is_refused_or_harmless(folder: Path) -> None:
    """Every value in turn is replaced by one of another kind: it is read, or a ValueError."""
    whole = described(folder)
    for path in places(whole):
        for value in (None, -1, 2**70, "x", [], {}, 1.5, True):
            changed = json.loads(json.dumps(whole))
            at = changed
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = value
            with suppress(ValueError):
                form.read(json.dumps(changed).encode())


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value inside another; of a long list, to the first two."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = list(enumerate(value))[:2]
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def test_a_digest_makes_sure_of_the_folder(folder: Path) -> None:
    digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    assert prop.load(folder, sha256=digest).step(batch()) > 0
    refused(lambda: prop.load(folder, sha256="0" * 64), "SHA-256 that was given")


def test_code_for_another_machine_is_not_loaded(tmp_path: Path) -> None:
    other = "aarch64" if architecture() == "x86_64" else "x86-64"
    trainer().export(tmp_path / "digits", other)
    refused(loads(tmp_path / "digits"), "with linux, but this machine is")
