"""Machine code as functions of NumPy arrays: contexts filled, memory handed over.

In: an ``Interface`` and the address of the function that was emitted with it. Out: ``Caller``,
which is called with arrays in the order of the arguments and returns the outputs as a text backend
does (one alone is returned bare); ``Caller.bind`` fixes the arrays once, so that a call is the
machine code and nothing else.

Guarantees: an array that the code could misread is refused with TypeError or ValueError before it
runs: wrong dtype, shape, order, alignment, read-only where it is written. Outputs of ``Caller`` are
the caller's; it may be called from many threads at once. A ``Bound`` keeps what it points to alive;
its outputs are overwritten by its next call, and only one thread may call it.

Addresses are cached by the identity of arrays: a parameter that is handed in again costs a test.
Arrays with a free size are let go after the call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from threading import Lock
from typing import Any

import numpy as np

from codegen.aligned import aligned
from codegen.evaluate import bind_sizes
from codegen.index import evaluate
from codegen.llvm.build import Library
from codegen.llvm.interface import Interface
from codegen.program import Buffer

__all__ = ["Bound", "Caller"]

Array = np.ndarray[Any, Any]
CONTEXTS = 8  # kept for sizes seen last: an epoch has two, its batches and a rest
ARENAS = 1 << 26  # bytes of their arenas together, but for the last one's


class Caller:
    """A program in machine code, as a function of arrays."""

    def __init__(self, interface: Interface, library: Library) -> None:
        self.interface = interface
        self.entry = library.entry(interface.name)
        self.code = library.address(interface.name)
        self._arguments = {b.name: n for n, b in enumerate(interface.arguments)}
        self._sized = [n for n, b in enumerate(interface.arguments) if any(d.terms for d in b.dims)]
        self._contexts: dict[tuple[tuple[int, ...], ...], _Context] = {}
        self._lock = Lock()
        self._constants = {
            b.name: np.array(b.data, b.dtype).reshape([d.const for d in b.dims])
            for b in interface.constants
        }

    def __call__(self, *arrays: Array) -> Any:
        """The outputs for these arguments; those that the program updates are changed in place."""
        shapes = tuple(arrays[n].shape for n in self._sized)
        if self._lock.acquire(blocking=False):
            try:
                context = self._contexts.get(shapes)
                if context is None:
                    context = self._kept(shapes, arrays)
                outputs = context.run(arrays)
            finally:
                self._lock.release()
        else:  # another thread is in there: this one gets memory of its own
            outputs = _Context(self, arrays).run(arrays)
        return outputs[0] if len(outputs) == 1 else outputs

    def _kept(self, shapes: tuple[tuple[int, ...], ...], arrays: Sequence[Array]) -> _Context:
        """A context for new sizes, in place of the oldest ones where they are many or large."""
        context = _Context(self, arrays)
        kept = self._contexts
        while kept and (
            len(kept) >= CONTEXTS or sum(c.arena.nbytes for c in (*kept.values(), context)) > ARENAS
        ):
            del kept[next(iter(kept))]
        kept[shapes] = context
        return context

    def bind(self, arrays: Mapping[str, Array]) -> Bound:
        """The program on these arrays, by the names of its arguments."""
        given = [arrays[b.name] for b in self.interface.arguments]
        return Bound(self, _Context(self, given), given)


class _Context:
    """The context for arguments of some sizes, with an arena."""

    def __init__(self, caller: Caller, arrays: Sequence[Array]) -> None:
        i = caller.interface
        if len(arrays) != len(i.arguments):
            raise TypeError(f"{i.name} takes {len(i.arguments)} arrays, but got {len(arrays)}")
        shapes = {b.name: a.shape for b, a in zip(i.arguments, arrays, strict=True)}
        self.caller = caller
        self.sizes = bind_sizes(i.name, i.dims, i.arguments, shapes)
        self.arena = aligned(i.arena.total(self.sizes))
        start = self.arena.ctypes.data
        places = i.arena.at(self.sizes)
        self.shapes = [self.shape(b) for b in i.arguments]
        self.held: list[Array | None] = [None] * len(i.arguments)
        self.words = np.zeros(max(1, len(i.arrays) + len(i.dims)), np.int64)
        self.word: dict[str, int] = {}
        for n, (kernel, b) in enumerate(i.arrays):
            if (kernel, b.name) in places:
                self.words[n] = start + places[kernel, b.name]
            if not kernel:
                self.word[b.name] = n
        for n, d in enumerate(i.dims, start=len(i.arrays)):
            self.words[n] = self.sizes[d.name]
        self.address = int(self.words.ctypes.data)
        self.made = [
            (self.word[name], self.shape(b), np.dtype(b.dtype))
            for name, b in ((b.name, b) for kernel, b in i.arrays if not kernel)
            if name in i.outputs and name not in caller._arguments
        ]
        self.places = [self.word.get(b.name, -1) for b in i.arguments]
        self.written = [b.name in i.writes for b in i.arguments]

    def shape(self, b: Buffer) -> tuple[int, ...]:
        """The shape of an array for these sizes."""
        return tuple(evaluate(d, {}, self.sizes) for d in b.dims)

    def take(self, n: int, array: Array) -> None:
        """Points the context at an argument."""
        b = self.caller.interface.arguments[n]
        if not isinstance(array, np.ndarray) or array.dtype != np.dtype(b.dtype):
            kind = getattr(array, "dtype", type(array).__name__)
            raise TypeError(f"{b.name} must be an array of {b.dtype}, but is one of {kind}")
        if array.shape != self.shapes[n]:
            raise ValueError(f"{b.name} must have shape {self.shapes[n]}, but has {array.shape}")
        flags = array.flags
        if not (flags.c_contiguous and flags.aligned and array.dtype.isnative):
            raise ValueError(f"{b.name} must be contiguous, aligned and in this machine's order")
        if self.written[n] and not flags.writeable:
            raise ValueError(
                f"{b.name} is changed by {self.caller.interface.name}: make it writable"
            )
        self.words[self.places[n]] = array.ctypes.data
        self.held[n] = array

    def run(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """The outputs, as new arrays."""
        held = self.held
        if len(arrays) != len(held):
            raise TypeError(
                f"{self.caller.interface.name} takes {len(held)} arrays, but got {len(arrays)}"
            )
        for n, array in enumerate(arrays):
            if array is not held[n] or array.shape != self.shapes[n]:
                self.take(n, array)
        made = {}
        for word, shape, dtype in self.made:
            made[word] = array = np.empty(shape, dtype)
            self.words[word] = array.ctypes.data
        self.caller.entry(self.address)
        outputs = self.outputs(made)
        for n in self.caller._sized:  # a batch is its caller's, who may have many
            held[n] = None
        return outputs

    def outputs(self, made: Mapping[int, Array]) -> tuple[Array, ...]:
        """The outputs in their order, from those that were made for this call."""
        found = []
        for name in self.caller.interface.outputs:
            constant = self.caller._constants.get(name)
            array = made.get(self.word[name]) if constant is None else constant
            if array is None:
                array = self.held[self.caller._arguments[name]]
            assert array is not None
            found.append(array)
        return tuple(found)


class Bound:
    """A program on fixed arrays: ``bound()`` runs it, ``outputs`` are where it leaves results.

    Outputs that are single numbers of one dtype stand one after the other in memory.
    ``entry(address)`` is that call without anything around it, ``code`` where the machine code is.
    ``sizes`` are those of the
    dimensions, ``word`` says where the context, ``words``, has the address of an array.
    """

    def __init__(self, caller: Caller, context: _Context, arrays: Sequence[Array]) -> None:
        self._context = context
        for n, array in enumerate(arrays):
            context.take(n, array)
        made = _made(context, caller.interface.outputs)
        for word, array in made.items():
            context.words[word] = array.ctypes.data
        self.outputs = context.outputs(made)
        self.entry, self.address, self.code = caller.entry, context.address, caller.code
        self.words, self.word, self.sizes = context.words, context.word, context.sizes

    def __call__(self) -> None:
        self.entry(self.address)

    def in_a_row(self, count: int) -> bool:
        """Whether the first outputs are floats of one width, one after the other in memory."""
        outputs = self.outputs[:count]
        first = outputs[0]
        places = [first.ctypes.data + n * first.itemsize for n in range(count)]
        alike = all(not a.shape and a.dtype == first.dtype for a in outputs)
        return alike and first.dtype.kind == "f" and [a.ctypes.data for a in outputs] == places

    @property
    def bytes(self) -> int:
        """Of the arena."""
        return int(self._context.arena.nbytes)

    def dimension(self, name: str) -> int:
        """The word of a dimension's size."""
        i = self._context.caller.interface
        return len(i.arrays) + [d.name for d in i.dims].index(name)


def _made(context: _Context, outputs: Sequence[str]) -> dict[int, Array]:
    """Memory for outputs, by the word that says where it is, numbers in their order."""
    numbers: dict[np.dtype[Any], list[int]] = {}
    made: dict[int, Array] = {}
    order = {context.word.get(name, -1): n for n, name in enumerate(outputs)}
    for word, shape, dtype in sorted(context.made, key=lambda row: order[row[0]]):
        if shape:
            made[word] = aligned(prod(shape) * dtype.itemsize).view(dtype).reshape(shape)
        else:
            numbers.setdefault(dtype, []).append(word)
    for dtype, words in numbers.items():
        room = aligned(len(words) * dtype.itemsize).view(dtype)
        made |= {word: room[n : n + 1].reshape(()) for n, word in enumerate(words)}
    return made
