"""What makes nests valid: checked after every directive, always in tests, on request for users.

In: a Loops. Out: nothing, or ``InvalidLoops`` with one sentence: what is wrong, in which part.

Guarantees of accepted nests: names are legal and found; each loop is bound once, in scope where it
is used, and of constant extent where it runs in lanes or is written out; no read or write was found
out of range where it runs, that of a guard under the guards before it; what is stored to an array
that positions are gathered from is proved to be within its bounds; nothing is read before something
is stored to it; no argument but a state or a parameter is written; kernels get arrays of their
shapes, none twice that they write; the turns of vector and parallel loops are proved independent.
What the index algebra cannot prove of ranges is tried at a few thousand points
(``codegen.ranges``): nothing right is refused for that.

It does not judge whether nests compute what was meant, nor whether the stores before a read reach
every element that is read: ``interpret`` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codegen.dtypes import is_float
from codegen.index import Gather, Guard, Ix, Loop, nonneg
from codegen.loops.nest import Call, Declare, For, Kernel, Loops, Part, Stmt, Store, When
from codegen.loops.scope import InvalidLoops, Scope, visited
from codegen.loops.verify_races import check_race
from codegen.loops.verify_storage import check_storage
from codegen.loops.verify_values import Body, bounds_of_values, check_values
from codegen.names import comment_safe
from codegen.program import Buffer, BufferSource, IndexValue, Load, walk
from codegen.ranges import gathers, outside
from codegen.verify_buffer import check_buffer, check_dims, check_sizes, legal, repeated
from codegen.verify_scalar import InvalidProgram, check_scalar

__all__ = ["InvalidLoops", "verify", "verify_kernel"]


def verify(loops: Loops) -> None:
    """Accept nests, or raise InvalidLoops."""
    try:
        _names(loops)
        kernels: dict[str, Kernel] = {}
        bodies: list[Body] = []
        for kernel in loops.kernels:
            bodies.append(_kernel(kernel, loops, kernels))
            kernels[kernel.name] = kernel
        for b in loops.arrays:
            check_buffer(b, loops.dims)
        scope = Scope(loops.dims, {b.name: b for b in loops.arrays})
        writable = [b.name for b in loops.arrays if b.role in ("scratch", "state", "parameter")]
        _Body(kernels, writable).check(loops.body, scope)
        for name in loops.outputs:
            if name not in scope.arrays:
                raise InvalidLoops(f"the output {name} is not an array")
        check_storage(loops)
        check_values([*bodies, Body("", loops.body, scope)], kernels)
    except InvalidProgram as wrong:
        raise InvalidLoops(str(wrong)) from None


def verify_kernel(kernel: Kernel, loops: Loops) -> None:
    """Accept a kernel by itself, which may call those of ``loops``, or raise InvalidLoops."""
    try:
        _kernel(kernel, loops, {k.name: k for k in loops.kernels})
    except InvalidProgram as wrong:
        raise InvalidLoops(str(wrong)) from None


def _names(loops: Loops) -> None:
    """Every name of the whole is legal, and given once."""
    given = [
        *(("dimension", d.name) for d in loops.dims),
        *(("array", b.name) for b in loops.arrays),
        *(("kernel", k.name) for k in loops.kernels),
    ]
    for what, name in [("function", loops.name), *given]:
        if not legal(name):
            raise InvalidLoops(f"the {what} name {name!r:.60} is not a legal identifier")
    for name in repeated([name for _, name in given]):
        raise InvalidLoops(f"the name {name} is given twice among dimensions, arrays and kernels")


def _kernel(kernel: Kernel, loops: Loops, known: Mapping[str, Kernel]) -> Body:
    """A kernel by itself; ``known`` are those that it may call."""
    title = f"kernel {kernel.name}: "
    arrays = (*kernel.arrays, *kernel.scratch)
    for b in arrays:
        if not legal(b.name):
            raise InvalidLoops(f"{title}the array name {b.name!r:.60} is not a legal identifier")
        check_buffer(b, kernel.dims, title)
    for name in repeated([*(d.name for d in kernel.dims), *(b.name for b in arrays)]):
        raise InvalidLoops(f"{title}the name {name} is given twice among dimensions and arrays")
    for d in kernel.dims:
        if d not in loops.dims:
            raise InvalidLoops(f"{title}the dimension {d.name} is not one of {loops.name}")
    handed = [b.name for b in kernel.arrays]
    for name in kernel.writes:
        if name not in handed:
            raise InvalidLoops(f"{title}{name}, which it writes, is not one of its arguments")
    if len(kernel.integers) != len(kernel.names):
        raise InvalidLoops(f"{title}not every integer has a name")
    check_sizes((v.extent for v in kernel.integers), kernel.dims, title)
    names = dict(zip(kernel.integers, kernel.names, strict=True))
    scope = Scope(
        kernel.dims, {b.name: b for b in arrays}, title, loops=kernel.integers, names=names
    )
    own = [b.name for b in kernel.scratch if b.role == "scratch"]
    _Body(known, [*kernel.writes, *own]).check(kernel.body, scope)
    return Body(kernel.name, kernel.body, scope)


class _Body:
    """The checks of one body: of the program, or of a kernel."""

    def __init__(self, kernels: Mapping[str, Kernel], writable: Sequence[str]) -> None:
        self.kernels = kernels
        self.writable = writable
        self.bound: set[Loop] = set()
        self.parts: set[str] = set()

    def check(self, stmts: Sequence[Stmt], scope: Scope) -> None:
        self.bound |= set(scope.loops)
        self.declared = scope.arrays
        for stmt, here in visited(stmts, scope):
            match stmt:
                case Part(name):
                    _need(name not in self.parts, here, f"a second part is called {name!r:.60}")
                    self.parts.add(name)
                case For():
                    self.loop(stmt, here)
                case When(guards):
                    self.guards(guards, here)
                case Declare(array):
                    self.declare(array, here)
                case Store():
                    self.store(stmt, here)
                case Call():
                    self.call(stmt, here)
        for stmt, here in visited(stmts, scope):  # once every index in them is known to be right
            if isinstance(stmt, For) and stmt.kind in ("vector", "parallel"):
                check_race(stmt, here, self.kernels)

    # --- statements ------------------------------------------------------------------------------

    def loop(self, stmt: For, scope: Scope) -> None:
        name = stmt.name
        plain = name.isascii() and name.isidentifier()
        _need(plain, scope, f"the loop name {name!r:.60} is not legal")
        around = [scope.names[v] for v in scope.loops]
        _need(name not in around, scope, f"a loop {name} stands in another of that name")
        _need(stmt.loop not in self.bound, scope, f"the variable of the loop {name} is bound twice")
        self.bound.add(stmt.loop)
        kinds = ("serial", "unroll", "vector", "parallel")
        _need(stmt.kind in kinds, scope, f"the loop {name} is of kind {stmt.kind!r:.60}")
        check_sizes((stmt.loop.extent,), scope.dims, f"{scope.where}loop {name}: ")
        self.indices([*stmt.low, *stmt.high], scope)
        if stmt.kind in ("unroll", "vector"):
            fixed = stmt.loop.extent.value is not None and not stmt.low and not stmt.high
            extent = scope.spell(stmt.loop.extent)
            text = f"the {stmt.kind} loop {name} needs a number of turns, not {extent}"
            text += ", narrowed" if stmt.low or stmt.high else ""
            _need(fixed, scope, text)

    def declare(self, array: Buffer, scope: Scope) -> None:
        name = array.name
        _need(legal(name), scope, f"the name {name!r:.60} is not a legal identifier")
        taken = name in scope.arrays or name in self.kernels or name in (d.name for d in scope.dims)
        _need(not taken, scope, f"the name {name} is declared where it has a meaning already")
        check_buffer(array, scope.dims, scope.where)
        _need(array.role == "scratch", scope, f"{name} is declared with the role {array.role}")
        fixed = all(d.value is not None for d in array.dims)
        _need(fixed, scope, f"the sizes of {name} are not numbers: only arrays have such dims")

    def store(self, stmt: Store, scope: Scope) -> None:
        target = self.known(stmt.target, scope)
        self.writes(target, scope)
        _need(stmt.op in ("=", "+=", "max=", "min="), scope, f"no store is {stmt.op!r:.60}")
        for s in walk(stmt.value):
            if isinstance(s, Load):
                read = self.known(s.buffer, scope)
                self.guards(s.guards, scope)
                self.indices(s.indices, scope, s.guards)
                self.in_range("reads", read, s.indices, scope, s.guards)
            elif isinstance(s, IndexValue):
                self.indices([s.ix], scope)
        check_scalar(stmt.value, scope.arrays, target, target.dtype, scope.where)
        self.indices(stmt.index, scope)
        self.in_range("writes", target, stmt.index, scope)

    def call(self, stmt: Call, scope: Scope) -> None:
        kernel = self.kernels.get(stmt.kernel)
        if kernel is None:
            raise scope.fail(f"{stmt.kernel} is not a kernel that stands before its call")
        counts = [
            ("arrays", len(stmt.arguments), len(kernel.arrays)),
            ("integers", len(stmt.integers), len(kernel.integers)),
        ]
        for what, found, wanted in counts:
            text = f"{kernel.name} is handed {found} {what}, it takes {wanted}"
            _need(found == wanted, scope, text)
        for b, name in zip(kernel.arrays, stmt.arguments, strict=True):
            handed = self.known(name, scope)
            _fits(kernel.name, b, handed, scope)
            if b.name in kernel.writes:
                self.writes(handed, scope)
                once = stmt.arguments.count(name) == 1
                _need(once, scope, f"{kernel.name} writes {name}, which it is handed twice")
        self.indices(stmt.integers, scope)
        for v, name, ix in zip(kernel.integers, kernel.names, stmt.integers, strict=True):
            found_ = outside(scope.dims, scope.loops, scope.guards, ix, v.extent)
            if found_ is not None and not scope.dead:
                value = f"{scope.spell(ix)} is {found_.value(ix)} of {found_.value(v.extent)}"
                where = f"{value}{scope.example(found_)}"
                raise scope.fail(f"{name} of {kernel.name} is out of range: {where}")

    # --- arrays and indices ----------------------------------------------------------------------

    def known(self, name: str, scope: Scope) -> Buffer:
        found = scope.arrays.get(name)
        if found is None:
            raise scope.fail(f"there is no array {comment_safe(name, 60)} here")
        return found

    def writes(self, array: Buffer, scope: Scope) -> None:
        """The array is one of the body's to write; what it declared itself is."""
        outer = self.declared.get(array.name)
        mine = outer is None or array.name in self.writable
        _need(mine, scope, f"{array.name}, of role {array.role}, is not to be written")

    def indices(self, ixs: Sequence[Ix], scope: Scope, guards: Sequence[Guard] = ()) -> None:
        """Combinations of what is bound and declared; what they gather is in range."""
        for ix in ixs:
            for v in ix.loops:
                if v not in scope.loops:
                    raise scope.fail(f"{scope.spell(ix)} uses a loop that is not bound there")
            check_dims(ix, scope.dims, scope.where)
        for g in gathers(ixs):
            self.in_range("reads", self.source(g, scope), g.indices, scope, guards)

    def guards(self, guards: Sequence[Guard], scope: Scope) -> None:
        """Each guard is tested under those before it."""
        for n, g in enumerate(guards):
            self.indices([g.ix], scope, guards[:n])

    def source(self, g: Gather, scope: Scope) -> Buffer:
        if not isinstance(g.source, BufferSource):
            raise scope.fail("a gather does not name an array")
        read = self.known(g.source.buffer, scope)
        text = f"the index array {read.name} is {read.dtype}"
        _need(not is_float(read.dtype), scope, text)
        low, high = bounds_of_values(read)
        agree = nonneg(low - g.source.low) and nonneg(g.source.high - high)
        _need(agree, scope, f"a gather bounds {read.name} otherwise than its declaration does")
        return read

    def in_range(
        self, verb: str, array: Buffer, index: Sequence[Ix], scope: Scope,
        guards: Sequence[Guard] = (),
    ) -> None:  # fmt: skip
        text = f"{verb} {array.name} with {len(index)} indices, it has {len(array.dims)} axes"
        _need(len(index) == len(array.dims), scope, text)
        if scope.dead:
            return
        known = (*scope.guards, *guards)
        for ix, size in zip(index, array.dims, strict=True):
            found = outside(scope.dims, scope.loops, known, ix, size)
            if found is not None:
                raise scope.fail(
                    f"{verb} {scope.element(array.name, index, guards)} out of range: "
                    f"{scope.spell(ix)} is {found.value(ix)} of {found.value(size)}"
                    f"{scope.example(found)}"
                )


def _need(holds: bool, scope: Scope, text: str) -> None:
    if not holds:
        raise scope.fail(text)


def _fits(kernel: str, argument: Buffer, handed: Buffer, scope: Scope) -> None:
    """An array has the dtype, the shape and the bounds that a kernel expects."""
    theirs, ours = (
        f"{b.dtype}{list(b.dims)!r}" + (f" in {b.low!r}..{b.high!r}" if b.low is not None else "")
        for b in (argument, handed)
    )
    _need(
        argument.dtype == handed.dtype
        and argument.dims == handed.dims
        and argument.low in (None, handed.low)
        and argument.high in (None, handed.high),
        scope,
        f"{kernel} takes {argument.name} as {theirs}, but {handed.name} is {ours}",
    )
