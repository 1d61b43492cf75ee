"""Nests as machine code: compiled, bound to arrays, run.

In: a ``Loops``, a target, arrays by name. Out: the arrays of its outputs. Guarantees: arrays stand
against a page that cannot be touched (where the system has such pages), scratch holds no zeros.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from math import prod
from typing import Any

import numpy as np

from codegen.evaluate import bind_sizes
from codegen.index import evaluate
from codegen.llvm.build import compile as compiled
from codegen.llvm.emit import emit
from codegen.llvm.layout import Layout, layout
from codegen.llvm.target import SHIPPED, Target, host
from codegen.loops.nest import Declare, Loops, Stmt
from codegen.loops.walk import mapped
from codegen.program import Buffer

PAGE = mmap.PAGESIZE


@cache
def runnable() -> dict[str, Target]:
    """The targets whose code this machine runs."""
    here = host()
    kind = here.triple.split("-")[0]
    found = {"host": here}
    for name, target in SHIPPED.items():
        if target.triple.split("-")[0] == kind and target.vector_bytes <= here.vector_bytes:
            found[name] = replace(target, triple=here.triple)
    return found


class Fence:
    """Memory between two pages that cannot be read or written."""

    def __init__(self) -> None:
        self.maps: list[tuple[int, int]] = []

    def array(self, shape: tuple[int, ...], dtype: str, at_end: bool) -> np.ndarray:
        """An array that begins or ends where the memory does."""
        import ctypes

        kind = np.dtype(dtype)
        size = prod(shape) * kind.itemsize
        whole = (max(1, -(-size // PAGE)) + 2) * PAGE
        c = ctypes.CDLL(None)
        c.mmap.restype = ctypes.c_void_p
        c.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        c.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        base = c.mmap(None, whole, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
        self.maps.append((base, whole))
        for page in (base, base + whole - PAGE):
            assert c.mprotect(page, PAGE, 0) == 0
        start = base + (whole - PAGE - size if at_end else PAGE)
        ctypes.memset(base + PAGE, 0xFF, whole - 2 * PAGE)
        memory = (ctypes.c_uint8 * size).from_address(start) if size else b""
        return np.frombuffer(memory, kind, prod(shape)).reshape(shape)

    def free(self) -> None:
        import ctypes

        c = ctypes.CDLL(None)
        c.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        while self.maps:
            c.munmap(*self.maps.pop())


def run(
    loops: Loops, arguments: Mapping[str, Any], target: Target, at_end: bool = True,
    portable: bool = False,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """The outputs of nests as machine code."""
    entry = compiled(emit(loops, target, portable), target).entry(loops.name)
    fence = Fence()
    found = Bound(loops, arguments, fence, at_end)
    entry(found.context.ctypes.data)
    outputs = tuple(np.array(found.array(name)) for name in loops.outputs)
    fence.free()
    return outputs


class Bound:
    """The context of nests for some arguments."""

    def __init__(
        self, loops: Loops, arguments: Mapping[str, Any], fence: Fence, at_end: bool
    ) -> None:
        self.loops = loops
        self.layout: Layout = layout(loops)
        shapes = {b.name: np.shape(arguments[b.name]) for b in loops.arguments}
        sizes = bind_sizes(loops.name, loops.dims, loops.arguments, shapes)
        self.context = np.zeros(max(1, self.layout.words), np.int64)
        self.arrays: dict[tuple[str, str], np.ndarray] = {}
        for word, (kernel, b) in enumerate(self.layout.arrays):
            shape = tuple(evaluate(d, {}, sizes) for d in b.dims)
            array = fence.array(shape, b.dtype, at_end)
            if not kernel and b.name in arguments:
                array[...] = arguments[b.name]
            self.arrays[kernel, b.name] = array
            self.context[word] = array.ctypes.data
        for d in self.layout.dims:
            self.context[self.layout.dim(d.name)] = sizes[d.name]

    def array(self, name: str) -> np.ndarray:
        """An array of the program, constants included."""
        found = self.arrays.get(("", name))
        if found is not None:
            return found
        b = self.loops.array(name)
        return np.array(b.data, b.dtype).reshape([d.const for d in b.dims])


def narrowed(loops: Loops) -> Loops:
    """The nests with every float64 a float32."""

    def one(b: Buffer) -> Buffer:
        return replace(b, dtype="float32") if b.dtype == "float64" else b

    def change(s: Stmt) -> Iterator[Stmt]:
        yield Declare(one(s.array)) if isinstance(s, Declare) else s

    kernels = tuple(
        replace(
            k,
            arrays=tuple(map(one, k.arrays)),
            scratch=tuple(map(one, k.scratch)),
            body=mapped(k.body, change),
        )
        for k in loops.kernels
    )
    arrays = tuple(map(one, loops.arrays))
    return replace(loops, arrays=arrays, body=mapped(loops.body, change), kernels=kernels)
