"""Machine code that was made before, kept for the processes to come.

In: a key, the hash of everything the code depends on (``key``); a manifest and the code, as bytes.
Out: ``Store.get``: just these bytes again, or None.

One file an entry, so that a manifest never meets the code of another:

    symprop object 1
    key <64 digits>
    manifest <bytes> <SHA-256>
    code <bytes> <SHA-256>
    <the manifest><the code>

Guarantees: the bytes handed out are those that were hashed, and were put under this key, by this
user: the folder is ``private_folder``'s, and the lines above are made anew from what was read and
compared. Anything else, a file that is cut short, changed, planted, linked, of another owner or of
another version, is as if it were not there, and ``put`` replaces it. Entries appear whole; any
number of processes may read and write at once. The entries used last are kept, ``ENTRIES`` of them
and ``BYTES``; a file not named by this module is never removed. Nothing here raises because the
cache cannot be used: ``trouble`` says so.

It does not know what is in an entry, and a program that runs as the same user can plant one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from codegen.private_folder import UNFINISHED, Folder, UnfitError, opened
from codegen.source_file import cache_home

__all__ = ["Entry", "Store", "key"]

ENTRIES = 1000
BYTES = 1 << 28
LARGEST = 1 << 26  # of one entry
ABANDONED = 3600.0  # seconds: an unfinished file this old is of a process that was killed

_KEY = re.compile(r"[0-9a-f]{64}")
_OURS = re.compile(r"[0-9a-f]{64}\.object")
_LEFT = re.compile(rf"\.[0-9a-f]{{64}}\.object\.[0-9a-f]{{16}}{re.escape(UNFINISHED)}")
_HEAD = re.compile(
    rb"symprop object 1\n"
    rb"key [0-9a-f]{64}\n"
    rb"manifest ([0-9]{1,9}) [0-9a-f]{64}\n"
    rb"code [0-9]{1,9} [0-9a-f]{64}\n"
)


@dataclass(frozen=True)
class Entry:
    """What was stored under a key."""

    manifest: bytes
    code: bytes


def key(parts: Iterable[bytes]) -> str:
    """64 digits that no two lists of parts share (SHA-256; each part after its length)."""
    found = sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()


class Store:
    """The entries in a folder: by default the user's own, ``symprop/objects`` among the caches of
    the system (``XDG_CACHE_HOME`` where it is set)."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder: Path | None = None
        self._trouble = ""
        try:
            self.folder = (folder or cache_home() / "symprop" / "objects").absolute()
        except (OSError, RuntimeError):
            self._trouble = f"compiled code is not kept, since this user has no home: {_MEND}"

    def get(self, key: str) -> Entry | None:
        """The entry of a key, or None.

        Raises ValueError for what is no key.
        """
        name = _name(key)
        if self.folder is None:
            return None
        try:
            with opened(self.folder, make=False) as folder:
                data = folder.read(name, LARGEST)
        except (OSError, UnfitError):
            return None
        return _unpacked(key, data)

    def put(self, key: str, manifest: bytes, code: bytes) -> bool:
        """Stores an entry; whether that could be done.

        Raises ValueError for what is no key.
        """
        name, entry = _name(key), Entry(manifest, code)
        data = _head(key, entry) + manifest + code
        if self.folder is None or len(data) > LARGEST:
            return False
        try:
            with opened(self.folder, make=True) as folder:
                folder.write(name, data)
                _prune(folder, name)
        except (OSError, UnfitError) as error:
            self._trouble = self._said(error)
            return False
        self._trouble = ""
        return True

    def trouble(self) -> str:
        """Why code is not kept, in a sentence; "" where it is."""
        if self.folder is None or self._trouble:
            return self._trouble
        try:
            with opened(self.folder, make=True) as folder:
                if not folder.writable():
                    raise UnfitError("cannot be written to")
        except (OSError, UnfitError) as error:
            return self._said(error)
        return ""

    def _said(self, error: OSError | UnfitError) -> str:
        if isinstance(error, UnfitError):
            reason = str(error)
        else:
            reason = f"cannot be used ({error.strerror or type(error).__name__})"
        return f"compiled code is not kept, since {str(self.folder)!a} {reason}: {_MEND}"


_MEND = "mend that, or set XDG_CACHE_HOME to a folder of yours"


def _name(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(f"a key is 64 hexadecimal digits, not {key!r:.80}")
    return f"{key}.object"


def _head(key: str, entry: Entry) -> bytes:
    """The lines before the contents."""
    lines = ["symprop object 1", f"key {key}"]
    for name, data in (("manifest", entry.manifest), ("code", entry.code)):
        lines.append(f"{name} {len(data)} {sha256(data).hexdigest()}")
    return ("\n".join(lines) + "\n").encode()


def _unpacked(key: str, data: bytes) -> Entry | None:
    """The entry in a file, if the file is what ``put`` writes for it, byte for byte."""
    head = _HEAD.match(data)
    if head is None:
        return None
    start = head.end()
    end = start + int(head[1])
    entry = Entry(data[start:end], data[end:])
    return entry if head[0] == _head(key, entry) else None


def _prune(folder: Folder, newest: str) -> None:
    """Removes the entries that were used longest ago, and what killed processes left."""
    now, kept, total = time.time(), 0, 0
    found = folder.files()
    for name, status in found:
        if _LEFT.fullmatch(name) and now - status.st_mtime > ABANDONED:
            folder.remove(name)
    ours = [
        (name == newest, s.st_mtime, name, s.st_size) for name, s in found if _OURS.fullmatch(name)
    ]
    for _, _, name, size in sorted(ours, reverse=True):
        kept, total = kept + 1, total + size
        if kept > ENTRIES or total > BYTES:
            folder.remove(name)
