"""LOOPS -> Numba text for CUDA: ``@cuda.jit`` kernels, and the plain function that launches them.

In: a valid ``Program``, or its ``Loops``. Out: ``emit`` gives the source of a module: the header,
constant data, the helpers it uses, the kernels, and a function named like the program, whose
parameters are ``program.arguments`` in order (NumPy arrays, of rank 0 too) and which returns the
outputs as NumPy arrays (one alone is returned bare). It copies its arguments to the device,
launches, and copies back what is returned or updated in place.

    a nest                   a kernel: a thread for each turn of its independent loops, the others
                             run within the thread; where none is independent, one thread
    a loop of several nests  a loop of the function: each turn of a scan launches what is in it
    a kernel of LOOPS        a function of its own, on arrays of the device
    scratch                  ``cuda.device_array``; local storage is ``cuda.local.array``

Guarantees: any size of a symbolic dimension works at run time, 0 too; sums run in the order of the
nest, and no element is written by two threads of a launch: no atomics, no order left to chance.
Kernels use neither shared memory nor what the threads of a warp do together. Launches run one
after another, which is what orders them. Lines have at most 100 characters; equal programs give
equal bytes.

It is to be read and tried out, in Numba's simulator too: arrays cross to the device and back with
every call, a kernel is compiled when it is first launched, and Numba's compiler for devices makes
one instruction of a*b + c, which rounds once.

    emit -- codegen.loops.default_cuda   nests, and the default schedule for threads
         -- numba_cuda_kernel            one kernel
              -- numba_statements        loops, stores, as in the text for one core
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from codegen import numba_cuda_helpers, numba_helpers
from codegen.functions import NUMBA_HELPERS, UnsupportedFunction, helper_source, helpers_needed
from codegen.index import Gather
from codegen.loops.default_cuda import scheduled
from codegen.loops.from_program import from_program
from codegen.loops.nest import Call, Declare, For, Loops, Part, Stmt, Store, When
from codegen.loops.scope import Scope as Where
from codegen.loops.threads import threads
from codegen.loops.walk import indices, inside, read_names, written_names
from codegen.names import LENGTH, RESERVED, Names
from codegen.numba_cuda_kernel import Surroundings, dtype_name, kernel, product
from codegen.numba_function import (
    DTYPES,
    Function,
    imports,
    kernel_function,
    main_function,
    size_lines,
    stored,
)
from codegen.numba_scalars import Scope, index
from codegen.numba_statements import Body
from codegen.printer import WIDTH, Expr, Item, Name, Seq, call, flat, integer, layout, method
from codegen.program import Buffer, Dtype, Number, Program
from codegen.text_module import constant_data, header, memory

__all__ = ["emit", "emit_loops"]

_HELPERS = (*NUMBA_HELPERS, *numba_cuda_helpers.__all__)
_TAKEN = (*RESERVED, *_HELPERS, "math", "cuda", "blocks", "THREADS", *DTYPES)
_BLOCKS = '''\
THREADS = 128  # in a block


def blocks(turns):
    """How many blocks have a thread for each turn; a launch needs one, even for none."""
    return max(1, (turns + THREADS - 1) // THREADS)'''


def emit(program: Program) -> str:
    """The source of a module with one function named ``program.name``."""
    return emit_loops(scheduled(from_program(program)))


def emit_loops(loops: Loops) -> str:
    """The same for nests under any schedule."""
    return _Module(loops).text()


# --- the module -----------------------------------------------------------------------------------


class _Module:
    """A module while it is written; the names of arrays are settled before those of kernels."""

    def __init__(self, loops: Loops) -> None:
        self.loops = loops
        arrays = [*loops.arrays, *(b for k in loops.kernels for b in (*k.arrays, *k.scratch))]
        self.constants = [b for b in arrays if b.role == "constant"]
        names = Names(_TAKEN)
        called = [loops.name, *(k.name for k in loops.kernels), *(b.name for b in self.constants)]
        self.local = {name: names(name) for name in called}
        self.taken = (*_TAKEN, *self.local.values())
        bodies = [loops.body, *(k.body for k in loops.kernels)]
        every = [s for body in bodies for s in inside(body)]
        used = [b.name for b in arrays] + [s.name for s in every if isinstance(s, For)]
        used += [s.array.name for s in every if isinstance(s, Declare)]
        self.kernel_name = Names([*self.taken, *used, *(f"{b.name}_device" for b in arrays)])
        self.helpers: dict[tuple[str, Dtype], None] = {}
        self.given: dict[str, tuple[str, ...]] = {}

    def text(self) -> str:
        loops = self.loops
        found: list[list[str]] = []
        for one in loops.kernels:
            found += _Host(self, kernel_function(one), False).functions()
        found += _Host(self, main_function(loops), True).functions()
        data = [line for b in self.constants for line in constant_data(self.local[b.name], b)]
        sized = any("THREADS" in line for function in found for line in function)
        blocks = [*([_BLOCKS.split("\n")] if sized else []), *self.helper_texts(), *found]
        doc = f"{loops.doc}\n{memory(stored(loops), loops.arguments)}".strip()
        top = header(loops.name, doc, loops.dims, loops.arrays, "Numba CUDA")
        imported = imports("\n".join(line for block in (data, *blocks) for line in block), ["cuda"])
        first = [*top, *imported, *([""] if data else []), *data]
        if sized:
            first, blocks = [*first, "", *blocks[0]], blocks[1:]
        return "\n\n\n".join("\n".join(block) for block in (first, *blocks)) + "\n"

    def helper_texts(self) -> list[list[str]]:
        """The helpers, as functions of the device."""
        used = [name for name, _ in self.helpers]
        return [
            ["@cuda.jit(device=True)", *helper_source(name, library).split("\n")]
            for library in (numba_helpers, numba_cuda_helpers)
            for name in helpers_needed(used, library)
        ]


# --- a function that launches ---------------------------------------------------------------------


class _Host(Body):
    """A function that launches the kernels of one body, and those kernels."""

    def __init__(self, module: _Module, f: Function, main: bool) -> None:
        """``main``: its arguments are arrays of NumPy; those of others lie on the device."""
        names = Names(module.taken)
        own = {b.name: b for b in (*f.arguments, *f.scratch)}
        self.plain = module.local | {name: names(name) for name in own}  # what kernels call them
        copied = [*module.constants, *(f.arguments if main else ())]
        local = self.plain | {b.name: names(f"{b.name}_device") for b in copied}
        arrays = {b.name: b for b in module.constants} | own
        sizes = {d: names(f"{d}_size") for d in f.dims}
        super().__init__(
            Scope(arrays, local, set(), sizes, module.helpers),
            names,
            module.loops.kernels,
            module.given,
        )
        self.module, self.f, self.main = module, f, main
        self.callees = {k.name: k for k in module.loops.kernels}
        titles = dict(zip(f.integers, f.names, strict=True))
        dims = tuple(d for d in module.loops.dims if d.name in f.dims)
        self.where = Where(dims, arrays, loops=f.integers, names=titles)
        self.copied = copied
        self.handed: dict[str, None] = {}  # arrays of the device that are used
        self.kernels: list[list[str]] = []
        for loop, name in titles.items():
            self.scope.loops[loop] = self.loop_name(name)

    def functions(self) -> list[list[str]]:
        """The kernels, then the function."""
        f, scope = self.f, self.scope
        launches = self.lines(f.body, f.scratch)
        last = self.returned() if self.main else []
        names = Scope(scope.arrays, self.plain, set(), scope.sizes, scope.helpers, used=scope.used)
        sizes, missing = size_lines(names, f)
        self.module.given[f.name] = missing
        parameters = [self.plain[b.name] for b in f.arguments]
        parameters += [scope.sizes[d] for d in missing]
        parameters += [scope.loops[v] for v in f.integers]
        head = layout("def ", call(self.module.local[f.name], *map(Name, parameters)), ":", 0)
        groups = [part for part in (sizes, self.copies(), launches, last) if part]
        lines = [line for n, part in enumerate(groups) for line in ([""] if n else []) + part]
        return [*self.kernels, [*head, *(lines or ["    return"])]]

    # --- the device and back ---------------------------------------------------------------------

    def device(self, array: str) -> Expr:
        """An array of the device, which is used."""
        self.handed[array] = None
        return Name(self.scope.local[array])

    def copies(self) -> list[str]:
        """Copies to the device of what is used there."""
        found: list[str] = []
        for b in self.copied:
            if b.name in self.handed:
                to = call("cuda.to_device", Name(self.plain[b.name]))
                found += layout(f"    {self.scope.local[b.name]} = ", to)
        return found

    def returned(self) -> list[str]:
        """Copies back of what was updated in place, and the outputs."""
        found: list[str] = []
        for b in self.f.arguments:
            if b.name in self.f.writes:
                copy = method(self.device(b.name), "copy_to_host", Name(self.plain[b.name]))
                found += layout("    ", copy)
        values = tuple(method(self.device(o), "copy_to_host") for o in self.f.outputs)
        if not values:
            return found
        value: Expr = values[0] if len(values) == 1 else Seq("(", values)
        whole = f"    return {flat(value) if len(values) == 1 else flat(value)[1:-1]}"
        return [*found, *([whole] if len(whole) <= WIDTH else layout("    return ", value))]

    def allocated(self, stmt: Stmt) -> list[str]:
        """Allocations of what a statement of the top is the first to use."""
        used = {**written_names((stmt,), self.writes), **read_names((stmt,), self.writes)}
        found = [self.unallocated.pop(n) for n in used if n in self.unallocated]
        return [line for b in found for line in self.allocation(b)]

    def allocation(self, buffer: Buffer) -> list[str]:
        """Memory of the device."""
        dims = tuple(index(self.scope, d) for d in buffer.dims)
        shape: Expr = dims[0] if len(dims) == 1 else Seq("(", dims)
        made = call("cuda.device_array", shape, dtype_name(buffer))
        return layout(f"    {self.scope.local[buffer.name]} = ", made)

    # --- statements ------------------------------------------------------------------------------

    def lines(self, stmts: Sequence[Stmt], unallocated: Iterable[Buffer]) -> list[str]:
        """The whole body."""
        self.unallocated = {b.name: b for b in unallocated}
        found = self.sequence(stmts, "    ", None)
        return found[1:] if found[:1] == [""] else found

    def headed(self, head: list[str], body: Sequence[Stmt], pad: str) -> list[str]:
        """A loop of the function."""
        lines = self.sequence(body, pad + "    ", None)
        return [*head, *(lines[1:] if lines[:1] == [""] else lines)] if lines else []

    def sequence(self, stmts: Sequence[Stmt], pad: str, part: Part | None) -> list[str]:
        """Statements one after another; what follows a declaration is all one thread's.

        The formula of a part belongs to the last of its nests.
        """
        found: list[str] = []
        for n, stmt in enumerate(stmts):
            outside = pad == "    "  # of all loops
            if isinstance(stmt, Declare):
                made = [line for s in stmts[n:] for line in self.allocated(s) if outside]
                return [*found, *made, *self.launched((), stmts[n:], part, pad)]
            made = self.allocated(stmt) if outside else []
            own = part if part is None or stmt is stmts[-1] else Part(part.name, ())
            if self.hosted(stmt) and found:
                found.append("")
            found += self.one(stmt, pad, own, made)
        return found

    def one(self, stmt: Stmt, pad: str, part: Part | None, made: Sequence[str]) -> list[str]:
        """A statement that stands in no kernel yet; ``part`` is the one around it."""
        match stmt:
            case Part():
                return self.part(stmt, pad, made)
            case For() if self.hosted(stmt):
                outer, self.where = self.where, self.where.inside(stmt)
                lines = self.loop(stmt, pad)
                self.where = outer
                return [*made, *lines]
            case For() | When():
                found = threads(stmt, self.where, self.callees)
                return [*made, *self.launched(found.loops, found.body, part, pad)]
            case Call():
                self.handed.update(dict.fromkeys(stmt.arguments))
                return [*made, *self.called(stmt, pad)]
            case _:
                return [*made, *self.launched((), (stmt,), part, pad)]

    def part(self, part: Part, pad: str, made: Sequence[str]) -> list[str]:
        """The launches of a part; its formula stands in the kernel, if it is in one."""
        plain = any(isinstance(s, Call) or self.hosted(s) for s in part.body)
        comment = self.comment(part, pad) if plain else ()
        return ["", *comment, *made, *self.sequence(part.body, pad, part)]

    def hosted(self, stmt: Stmt) -> bool:
        """Whether a statement is a loop of the function, with launches in it."""
        if not isinstance(stmt, For):
            return False
        every = list(inside(stmt.body))
        if any(isinstance(s, Call) for s in every):
            return True
        parts = any(isinstance(s, Part) for s in every)
        return parts and not threads(stmt, self.where, self.callees).loops

    def loop(self, stmt: For, pad: str) -> list[str]:
        if any(isinstance(a, Gather) for ix in indices(stmt) for a in ix.atoms()):
            raise UnsupportedFunction(
                f"the numba-cuda backend cannot run the loop {stmt.name}, whose end an array of "
                "the device tells, around launches: use another backend"
            )
        return super().loop(stmt, pad)

    # --- launches --------------------------------------------------------------------------------

    def launched(
        self, turns: Sequence[For], body: Sequence[Stmt], part: Part | None, pad: str
    ) -> list[str]:
        """A new kernel, and its launch."""
        if any(isinstance(s, Call) for s in inside(body)):
            raise UnsupportedFunction(
                "the numba-cuda backend cannot call a kernel within a kernel: use another backend"
            )
        scope = self.scope
        name = self.module.kernel_name(_label(body, part))
        around = Surroundings(
            scope.arrays, self.plain, scope.sizes, scope.loops, self.module.taken, scope.helpers
        )
        made = kernel(name, turns, body, part, around)
        self.kernels.append(made.lines)
        given = [self.device(a) for a in made.arrays]
        given += [scope.size(d) for d in made.dims]
        given += [Name(scope.loops[v]) for v in made.loops]
        size: tuple[Expr, Expr] = (integer(1), integer(1))
        if turns:
            extents = [index(scope, f.loop.extent) for f in turns]
            size = (call("blocks", product(extents)), Name("THREADS"))
        return layout(pad, call(Item(Name(name), size), *given), "", len(pad))


def _label(body: Sequence[Stmt], part: Part | None) -> str:
    """``hidden_to_relu_kernel``; ``clear_logits_kernel`` where all that is stored is numbers."""
    name = part.name if part else next(iter(written_names(body, {})), "nest")
    first, _, last = name.partition(" to ")
    if last:
        block, _, _ = first.rpartition(".")
        name = f"{first} to {last.removeprefix(f'{block}.')}"
    stores = [s for s in inside(body) if isinstance(s, Store)]
    clears = all(s.op == "=" and isinstance(s.value, Number) for s in stores)
    label = f"clear {name} kernel" if clears else f"{name} kernel"
    return label if len(label) <= LENGTH else f"{last or name[: LENGTH - 7]} kernel"
