"""Machine code with its interface, kept in the user's cache.

In: the text of a module, its interface, its target; or a name by which a caller may ask for it
without making the text. Out: ``ObjectCode``, from the cache or made.

    the code    under the hash of the full text, the interface, the target, the versions of llvmlite
                and LLVM and the settings of the code generator
    a name      the hash of whatever the caller says determines the text; it leads to the code's key

Guarantees: nothing that is not exactly what was asked for is returned (``store``), and what cannot
be kept is made again; an entry that cannot be read as an interface is a miss.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from functools import cache

from codegen.llvm import build
from codegen.llvm.calling import Caller
from codegen.llvm.interface import Interface, read, written
from codegen.llvm.store import Store, key
from codegen.llvm.target import Target

__all__ = ["ObjectCode", "called", "compiled", "loaded", "made", "name_of", "remember"]


@dataclass(frozen=True)
class ObjectCode:
    """An object file and how to call it; ``key`` is that of the cache, ``kept`` whether it was
    found there."""

    interface: Interface
    code: bytes
    key: str
    kept: bool


def made(text: str, interface: Interface, target: Target) -> ObjectCode:
    """The code of a text that was emitted with an interface, from the cache where it is there."""
    return ObjectCode(interface, *compiled(text, written(interface), target))


def compiled(text: str, manifest: bytes, target: Target) -> tuple[bytes, str, bool]:
    """The object file of any text, its key, and whether the cache had it; what else a reader of the
    cache must know of it is the manifest."""
    own = key([b"code", text.encode(), manifest, *_setting(target)])
    found = _store().get(own)
    if found is not None and found.manifest == manifest:
        return found.code, own, True
    code = build.object_code(text, target)
    _store().put(own, manifest, code)
    return code, own, False


def loaded(code: ObjectCode) -> Caller:
    """Machine code in this process, as a function of arrays."""
    return Caller(code.interface, build.load(code.code, (code.interface.name,)))


def name_of(parts: Iterable[bytes], target: Target) -> str:
    """A name for what these parts determine on this machine."""
    return key([b"name", *_setting(target), *parts])


def remember(name: str, code: ObjectCode) -> None:
    """Lets a name lead to a code."""
    _store().put(name, code.key.encode(), b"")


def called(name: str) -> ObjectCode | None:
    """The code that a name leads to, if the cache has both."""
    link = _store().get(name)
    try:
        entry = link and _store().get(link.manifest.decode())
        if link is None or not entry:
            return None
        return ObjectCode(read(entry.manifest), entry.code, link.manifest.decode(), True)
    except ValueError:
        return None


def _setting(target: Target) -> list[bytes]:
    """All that determines code beside the text."""
    import llvmlite
    import llvmlite.binding as llvm

    versions = (llvmlite.__version__, llvm.llvm_version_info, build.SETTING)
    return [repr(versions).encode(), repr(astuple(target)).encode()]


@cache
def _store() -> Store:
    return Store()
