"""A program for 64-bit ARM, run on any machine by Unicorn (QEMU's translator as a library).

In: the path of a statically linked ELF file that writes to its standard output and ends. Out: its
exit status and what it wrote. The system calls that such a program makes are carried out here; any
other one is an error.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

PAGE = 0x1000
STACK, STACK_SIZE = 0x7F_0000_0000, 1 << 20
HEAP, HEAP_SIZE = 0x50_0000_0000, 1 << 24
MAPS, MAPS_SIZE = 0x60_0000_0000, 1 << 26
NOT_THERE = -38 & 0xFFFF_FFFF_FFFF_FFFF  # the error ENOSYS
INVALID = -22 & 0xFFFF_FFFF_FFFF_FFFF
FLOATS_ALLOWED = 3 << 20  # bits of CPACR_EL1

_LOADED, _LINUX_PAGESZ, _LINUX_RANDOM = 1, 6, 25
_EXITS = (93, 94)
_WRITE, _WRITEV, _BRK, _MMAP = 64, 66, 214, 222
_MISSING = (29, 123)  # ioctl, sched_getaffinity: a program goes on without them
_NOTHING = (96, 98, 99, 135, 215, 226, 233)  # set_tid_address, futex, munmap, mprotect, ...


class Machine:
    """A processor with one program in it."""

    def __init__(self, path: Path) -> None:
        import unicorn
        from unicorn import arm64_const as arm

        self.arm, self.unicorn = arm, unicorn
        self.u: Any = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        self.u.reg_write(arm.UC_ARM64_REG_CPACR_EL1, FLOATS_ALLOWED)
        self.end, self.fresh = HEAP, MAPS
        self.status: int | None = None
        self.written = b""
        for start, size in ((STACK, STACK_SIZE), (HEAP, HEAP_SIZE), (MAPS, MAPS_SIZE)):
            self.u.mem_map(start, size)
        self.entry = self.load(path.read_bytes())
        self.u.hook_add(unicorn.UC_HOOK_INTR, self.called)

    def load(self, code: bytes) -> int:
        """Puts the file where it wants to be; where it begins."""
        assert code[:5] == b"\x7fELF\x02"
        entry, heads = struct.unpack_from("<QQ", code, 24)
        size, count = struct.unpack_from("<HH", code, 54)
        mapped: set[int] = set()
        for n in range(count):
            kind, _, offset, address, _, length, room, _ = struct.unpack_from(
                "<IIQQQQQQ", code, heads + n * size
            )
            if kind != _LOADED:
                continue
            for page in range(address // PAGE * PAGE, address + room, PAGE):
                if page not in mapped:
                    self.u.mem_map(page, PAGE)
                    mapped.add(page)
            self.u.mem_write(address, code[offset : offset + length])
        self.heads = (size, count, next(iter(sorted(mapped))) + heads)
        return int(entry)

    def run(self) -> tuple[int, str]:
        """From the first instruction to the end."""
        size, count, heads = self.heads
        top = STACK + STACK_SIZE - 256
        # argc, argv, environment, then pairs that the system tells a program.
        words = [1, top, 0, 0, 3, heads, 4, size, 5, count, _LINUX_PAGESZ, PAGE]
        words += [_LINUX_RANDOM, top, 0, 0]
        stack = (top - 8 * len(words)) // 16 * 16
        self.u.mem_write(stack, struct.pack(f"<{len(words)}Q", *words))
        self.u.reg_write(self.arm.UC_ARM64_REG_SP, stack)
        self.u.emu_start(self.entry, 0, timeout=120_000_000)
        assert self.status is not None, "the program did not end"
        return self.status, self.written.decode()

    def called(self, _machine: Any, _number: int, _data: Any) -> None:
        """A system call."""
        arm = self.arm
        number = self.u.reg_read(arm.UC_ARM64_REG_X8)
        a, b, c = (self.u.reg_read(r) for r in self.arguments())
        if number in _EXITS:
            self.status = a
            self.u.emu_stop()
        elif number == _WRITE:
            self.written += bytes(self.u.mem_read(b, c))
            self.answer(c)
        elif number == _WRITEV:
            pairs = struct.unpack(f"<{2 * c}Q", self.u.mem_read(b, 16 * c))
            texts = [
                bytes(self.u.mem_read(*pair))
                for pair in zip(pairs[::2], pairs[1::2], strict=True)
                if pair[1]
            ]
            self.written += b"".join(texts)
            self.answer(sum(map(len, texts)))
        elif number == _BRK:
            self.end = a if HEAP <= a <= HEAP + HEAP_SIZE else self.end
            self.answer(self.end)
        elif number == _MMAP:
            room = -(-b // PAGE) * PAGE
            found, self.fresh = self.fresh, self.fresh + room
            self.answer(found if self.fresh <= MAPS + MAPS_SIZE else INVALID)
        elif number in _MISSING:
            self.answer(NOT_THERE)
        else:
            assert number in _NOTHING, f"system call {number}"
            self.answer(0)

    def arguments(self) -> tuple[int, int, int]:
        arm = self.arm
        return arm.UC_ARM64_REG_X0, arm.UC_ARM64_REG_X1, arm.UC_ARM64_REG_X2

    def answer(self, value: int) -> None:
        self.u.reg_write(self.arm.UC_ARM64_REG_X0, value)


def run(path: Path) -> tuple[int, str]:
    """The exit status and the output of a program."""
    return Machine(path).run()
