"""What is in an object file: a small reader of 64-bit ELF, and the archive around it.

In: the bytes of an object file. Out: ``read``, its symbols and sections; ``faults``, in which ways
it is not a library by itself; ``archive``, the static library of it.

Guarantees: bytes that are not a whole little-endian 64-bit ELF file raise ValueError, whatever they
are; the same object gives the same archive: no time, no owner.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Elf", "Section", "Symbol", "archive", "faults", "read"]

_WRITE, _ALLOCATED, _RUN = 1, 2, 4  # flags of a section
_TABLE = 2  # the type of the section of symbols


@dataclass(frozen=True, slots=True)
class Symbol:
    """A name: whether the file defines it, and whether others see it."""

    name: str
    defined: bool
    visible: bool


@dataclass(frozen=True, slots=True)
class Section:
    """Bytes that are loaded: for what they may be used."""

    name: str
    size: int
    written: bool
    run: bool


@dataclass(frozen=True, slots=True)
class Elf:
    """``machine`` is ELF's number: 62 for x86-64, 183 for AArch64."""

    machine: int
    symbols: tuple[Symbol, ...]
    sections: tuple[Section, ...]


def read(code: bytes) -> Elf:
    """The symbols and the loaded sections of an object file or a shared library."""
    if code[:6] != b"\x7fELF\x02\x01":
        raise ValueError("this is not a 64-bit little-endian ELF file")
    try:
        return _read(code)
    except (struct.error, IndexError, OverflowError, UnicodeDecodeError) as error:
        raise ValueError(f"this ELF file is not whole: {error}") from error


def _read(code: bytes) -> Elf:
    (machine,) = struct.unpack_from("<H", code, 18)
    (start,) = struct.unpack_from("<Q", code, 40)
    size, count, names = struct.unpack_from("<HHH", code, 58)
    heads = [struct.unpack_from("<IIQQQQIIQQ", code, start + n * size) for n in range(count)]
    sections: list[Section] = []
    symbols: list[Symbol] = []
    for name, kind, flags, _, offset, length, link, *_ in heads:
        if flags & _ALLOCATED:
            text = _text(code, heads[names][4] + name)
            sections.append(Section(text, length, bool(flags & _WRITE), bool(flags & _RUN)))
        if kind == _TABLE:
            symbols += _symbols(code, offset, length, heads[link][4])
    return Elf(machine, tuple(symbols), tuple(sections))


def _symbols(code: bytes, start: int, length: int, names: int) -> list[Symbol]:
    found = []
    for at in range(start, start + length, 24):
        name, info, _, section = struct.unpack_from("<IBBH", code, at)
        if name:
            found.append(Symbol(_text(code, names + name), section != 0, info >> 4 != 0))
    return found


def _text(code: bytes, at: int) -> str:
    end = code.find(b"\0", at)
    if end < 0:
        raise IndexError("a name has no end")
    return code[at:end].decode("ascii")


def faults(code: bytes, functions: Sequence[str]) -> list[str]:
    """In which ways an object needs or shares more than these functions of its own."""
    found = read(code)
    wanted = [s.name for s in found.symbols if not s.defined and s.visible]
    shown = [s.name for s in found.symbols if s.defined and s.visible]
    changed = [s.name for s in found.sections if s.written and s.size]
    wrong = [f"it needs {name} from elsewhere" for name in wanted]
    wrong += [f"it shows {name}" for name in shown if name not in functions]
    wrong += [f"it lacks {name}" for name in functions if name not in shown]
    return wrong + [f"its section {name} can be written" for name in changed]


# --- archives -------------------------------------------------------------------------------------


def archive(name: str, code: bytes) -> bytes:
    """A static library, in the format of System V, of one object file called ``name``."""
    shown = [s.name for s in read(code).symbols if s.defined and s.visible]
    texts = b"".join(s.encode() + b"\0" for s in shown)
    label, table = f"{name}/", b""
    if len(label) > 16:  # a name that does not fit a head has a table of its own
        label, table = "/0", _member("//", f"{label}\n".encode())
    first = 8 + len(_member("/", bytes(4 + 4 * len(shown)) + texts)) + len(table)
    index = struct.pack(f">{1 + len(shown)}I", len(shown), *[first] * len(shown)) + texts
    return b"!<arch>\n" + _member("/", index) + table + _member(label, code)


def _member(name: str, data: bytes) -> bytes:
    head = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode("ascii")
    assert len(head) == 60
    return head + data + b"\n" * (len(data) % 2)
