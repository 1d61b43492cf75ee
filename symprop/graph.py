"""GRAPH: one kind of value. Reduce a scalar formula over loops, reading operands at computed
indices, where the guards hold.

    Node   := Leaf(dims, dtype, kind)                      -- input parameter state constant
                                                              scalar key local (of a block)
            | Reduce(op, loops, nout, guards, body, reads) -- the one value kind
            | Scan(length, reverse, carries, slices, constants, block)  -- a recurrence
            | Region(block, operands)                      -- a repeated block, called
            | Opaque(atom, operands)                       -- declares shapes, vjp, jvp and oracle
            | Output(node, n)                              -- one of several results
    Block  := leaves (local, positional), outputs          -- closed: equal blocks are one object
    op     := sum | max | min                              -- no reduced loop: an elementwise node
    loops  := the first nout are the output axes, the rest are reduced
    read   := node[ix, ...] when guard*                    -- exactly 0 where a guard is false
            | INDEX ix                                     -- the integer value of an index, a size
    guard  := ix >= 0 | ix == 0                            -- a point outside contributes nothing;
                                                              a map is exactly 0 there;
                                                              gathers are asked last
    body   := symprop.term over the reads

In: declarations. Out: immutable, interned nodes with dims, dtype and a structural digest.

Guarantees: an equal value is the same object; order never depends on creation; an empty sum is 0,
an empty max -inf, an empty min +inf (integers: the dtype's limits); NaN propagates through max and
min. Names and origins live beside the nodes (``hint``, ``origin``), not in their identity.
Nodes are built by ``symprop.make.make`` (Reduce) and the functions here; adding a kind touches
graph, gradient, simplify.engine, lower, oracle and verify, each of which lists the kinds it
covers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NamedTuple, NoReturn
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np

from codegen.index import Guard, Ix, Loop, as_ix, constant
from symprop.errors import UnsupportedError
from symprop.term import Term

Op = Literal["sum", "max", "min"]
Kind = Literal["input", "parameter", "state", "constant", "scalar", "key", "local"]
FLOATS = ("float", "float32", "float64")
INTS = ("int32", "int64")
LENGTH = 12  # of a digest, in bytes


def framed(*parts: bytes) -> bytes:
    """The parts in a row, each after its length: what digests are taken of."""
    return b"".join([x for part in parts for x in (len(part).to_bytes(4, "little"), part)])


def digest(*parts: bytes) -> bytes:
    """Structural digest of a sequence of parts."""
    return hashed(framed(*parts))


def hashed(text: bytes) -> bytes:
    """The digest of framed parts."""
    return blake2b(text, digest_size=LENGTH).digest()


class Node:
    """A value: dims (extents), dtype, digest. Compared by identity.

    ``common``: no leaf is under it, so that every model has the same object: it has no name.
    """

    __slots__ = ("__weakref__", "common", "digest", "dims", "dtype")
    digest: bytes
    dims: tuple[Ix, ...]
    dtype: str
    common: bool

    @property
    def operands(self) -> tuple[Node, ...]:
        """The nodes this one is computed from, in order, without repetition."""
        return ()

    @property
    def name(self) -> str:
        """The user's name for this value, or ""."""
        return hint(self)

    @property
    def low(self) -> Ix:
        """Least value of an integer node."""
        return _integer_bounds(self)[0]

    @property
    def high(self) -> Ix:
        """Greatest value of an integer node."""
        return _integer_bounds(self)[1]

    def __copy__(self) -> Node:
        """Itself, as of every value that does not change: a second one would be another value."""
        return self

    def __deepcopy__(self, memo: object) -> Node:
        return self

    def __reduce__(self) -> NoReturn:
        raise UnsupportedError(
            "an expression cannot be pickled, since a value is one object in a process: declare it "
            "again where it is needed, and keep weights with trainer.save(path)"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name or self.digest.hex()[:6]} {list(self.dims)}>"


class Scope:
    """The leaves whose networks share blocks: those that some network has joined.

    Equal blocks of one scope are one object. Networks without a common leaf have blocks of their
    own, so that no name or place passes from one to the other.
    """

    __slots__ = ("__weakref__",)


class Leaf(Node):
    """A declared value; its identity is its declaration (local leaves: their position)."""

    __slots__ = ("_high", "_low", "_name", "axes", "default", "init", "kind", "scope", "where")
    kind: Kind
    scope: Scope | None
    axes: tuple[str, ...]
    default: float | None
    init: Any
    where: str
    _name: str
    _low: Ix
    _high: Ix

    @property
    def name(self) -> str:
        return self._name

    @property
    def low(self) -> Ix:
        return self._low

    @property
    def high(self) -> Ix:
        return self._high


class At(NamedTuple):
    """A read of a node's element; exactly 0 where a guard is false."""

    node: Node
    index: tuple[Ix, ...]  # type: ignore[assignment]  # a tuple's own method, of no use here
    guards: tuple[Guard, ...] = ()


class IndexOf(NamedTuple):
    """The integer value of an index expression; a size when it holds dimensions alone."""

    ix: Ix


Reading = At | IndexOf


class Reduce(Node):
    """The one value kind; see the module's docstring. Built by ``symprop.make.make`` only."""

    __slots__ = ("_operands", "accumulator", "body", "guards", "loops", "nout", "op", "reads")
    op: Op
    loops: tuple[Loop, ...]
    nout: int
    guards: tuple[Guard, ...]
    body: Term
    reads: tuple[Reading, ...]
    accumulator: str
    _operands: tuple[Node, ...]

    @property
    def outer(self) -> tuple[Loop, ...]:
        """The output loops."""
        return self.loops[: self.nout]

    @property
    def inner(self) -> tuple[Loop, ...]:
        """The reduced loops."""
        return self.loops[self.nout :]

    @property
    def operands(self) -> tuple[Node, ...]:
        return self._operands


class Block:
    """A closed graph over local leaves: the step of a scan, the body of a region."""

    __slots__ = ("__weakref__", "digest", "leaves", "name", "names", "outputs")
    leaves: tuple[Leaf, ...]
    outputs: tuple[Node, ...]
    digest: bytes
    name: str
    names: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<Block {self.name} {len(self.leaves)} -> {len(self.outputs)}>"


class Many(Node):
    """A node with several results, each an ``Output``; its operands have positions."""

    __slots__ = ("_all",)
    _all: tuple[Node, ...]

    @property
    def arguments(self) -> tuple[Node, ...]:
        """Every operand by position, repetitions kept."""
        return self._all

    @property
    def operands(self) -> tuple[Node, ...]:
        return tuple(dict.fromkeys(self._all))


class Scan(Many):
    """carry' , y = block(carry, slice, constant), ``length`` times.

    Operands are the initial carries, then the slices (leading axis of extent ``length``), then the
    constants. Outputs are the final carries, then the stacked y (each at its own position, also
    when ``reverse``).
    """

    __slots__ = ("block", "length", "ncarry", "nslice", "reverse")
    block: Block
    length: Ix
    reverse: bool
    ncarry: int
    nslice: int


class Region(Many):
    """A call of a block; equal blocks are differentiated, simplified and lowered once."""

    __slots__ = ("block",)
    block: Block


@dataclass(frozen=True)
class Atom:
    """An opaque operation: what it computes, declared once.

    ``shape(dims) -> [(dims, dtype)]``, ``vjp(node, cotangents) -> [node | None]``,
    ``jvp(node, tangents) -> [node]``, ``oracle(*arrays) -> arrays``.
    """

    name: str
    shape: Callable[..., list[tuple[tuple[Ix, ...], str]]]
    vjp: Callable[..., list[Node | None]]
    jvp: Callable[..., list[Node]]
    oracle: Callable[..., tuple[Any, ...]]


class Opaque(Many):
    """An operation outside index notation (sort, solve, Cholesky)."""

    __slots__ = ("atom", "attributes", "results")
    atom: Atom
    attributes: tuple[tuple[str, str | int | float], ...]
    results: tuple[tuple[tuple[Ix, ...], str], ...]


class Output(Node):
    """Result number n of a node with several."""

    __slots__ = ("n", "of")
    of: Scan | Region | Opaque
    n: int

    @property
    def operands(self) -> tuple[Node, ...]:
        return (self.of,)


NODES: WeakValueDictionary[tuple[object, ...], Any] = WeakValueDictionary()


# --- names and origins, beside the nodes ---------------------------------------------------


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: the user's place ("model.py:14"), or a rule and its inputs."""

    place: str = ""
    rule: str = ""
    inputs: tuple[Node, ...] = ()


NOWHERE = Origin()
_HINTS: WeakKeyDictionary[Node, str] = WeakKeyDictionary()
_ROLES: WeakKeyDictionary[Node, str] = WeakKeyDictionary()
_ORIGINS: WeakKeyDictionary[Node, Origin] = WeakKeyDictionary()
_PACKAGE = str(Path(__file__).resolve().parent)


def hint(node: Node) -> str:
    """The name a value carries, or ""."""
    return node.name if isinstance(node, Leaf) else _HINTS.get(node, "")


def rename(node: Node, name: str) -> Node:
    """Give a computed value a name (constants, which models share, keep none)."""
    if not isinstance(node, Leaf) and not node.common:
        _HINTS[node] = name
    return node


def suggest(node: Node, word: str) -> None:
    """What an unnamed value may be called: its role. Unlike a name, it keeps nothing in place."""
    if not isinstance(node, Leaf) and not node.common and node not in _ROLES:
        _ROLES[node] = word


def suggested(node: Node) -> str:
    """The role a value was given, or ""."""
    return _ROLES.get(node, "")


def origin(node: Node) -> Origin:
    """Where the value came from."""
    if isinstance(node, Leaf):
        return Origin(place=node.where)
    return _ORIGINS.get(node, NOWHERE)


def remember(node: Node, source: Origin) -> Node:
    """Record where a value came from, unless that is known already."""
    if not isinstance(node, Leaf) and not node.common and node not in _ORIGINS:
        _ORIGINS[node] = source
    return node


def place() -> str:
    """File and line of the innermost caller outside symprop: "model.py:14"."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if frame is None:
        return ""
    file = frame.f_code.co_filename
    return f"{file.replace(chr(92), '/').rsplit('/', 1)[-1]}:{frame.f_lineno}"


# --- leaves, blocks and the kinds with several results -------------------------------------


def new_leaf(
    kind: Kind,
    name: str,
    dims: Sequence[Ix | int],
    dtype: str,
    axes: Sequence[str] = (),
    low: Ix | int | None = None,
    high: Ix | int | None = None,
    default: float | None = None,
    init: Any = None,
) -> Leaf:
    """A declared leaf: a new value at every call."""
    leaf = Leaf()
    leaf.kind, leaf._name, leaf.dtype = kind, name, dtype
    leaf.scope, leaf.common = None, False
    leaf.dims = tuple(as_ix(d) for d in dims)
    leaf.axes = tuple(axes) or ("",) * len(leaf.dims)
    leaf._low = as_ix(_limits(dtype)[0] if low is None else low)
    leaf._high = as_ix(_limits(dtype)[1] if high is None else high)
    leaf.default, leaf.init, leaf.where = default, init, place()
    data = np.ascontiguousarray(init).tobytes() if kind == "constant" else b""
    leaf.digest = digest(
        b"leaf", kind.encode(), name.encode(), dtype.encode(), data,
        *(d.digest for d in leaf.dims), leaf._low.digest, leaf._high.digest,
    )  # fmt: skip
    return leaf


def local_leaf(
    position: int,
    dims: Sequence[Ix],
    dtype: str,
    low: Ix | None = None,
    high: Ix | None = None,
    scope: Scope | None = None,
) -> Leaf:
    """The positional leaf of a block: equal declarations in one scope are one object."""
    low = as_ix(_limits(dtype)[0]) if low is None else low
    high = as_ix(_limits(dtype)[1]) if high is None else high
    key = ("local", position, tuple(dims), dtype, low, high, scope)
    found = NODES.get(key)
    if found is None:
        found = new_leaf("local", f"%{position}", dims, dtype, low=low, high=high)
        found.where, found.scope = "", scope
        NODES[key] = found
    return found


def local_like(position: int, node: Node, drop: int = 0, scope: Scope | None = None) -> Leaf:
    """A block's leaf shaped like a node (without its first ``drop`` axes), in its scope."""
    scope = scope or _scopes([node])[0]
    if node.dtype in INTS or node.dtype == "bool":
        return local_leaf(position, node.dims[drop:], node.dtype, node.low, node.high, scope)
    return local_leaf(position, node.dims[drop:], node.dtype, scope=scope)


_SCOPES: WeakKeyDictionary[Node, Scope] = WeakKeyDictionary()


def _scopes(nodes: Iterable[Node]) -> tuple[Scope | None, list[Leaf]]:
    """The first scope met below the nodes, and the leaves that have none."""
    first: Scope | None = None
    free: list[Leaf] = []
    stack = list(nodes)[::-1]
    seen: set[Node] = set(stack)
    while stack:
        node = stack.pop()
        own = node.scope if isinstance(node, Leaf) else None
        own = own or _SCOPES.get(node)
        if own is not None:
            first = first or own
        elif isinstance(node, Leaf):
            free.append(node)
        else:
            below = [o for o in node.operands if o not in seen]
            seen.update(below)
            stack += below[::-1]
    return first, free


def join_scope(nodes: Sequence[Node]) -> Scope:
    """The scope of a network that reads these values; its leaves belong to it from now on."""
    found, free = _scopes(nodes)
    found = found or Scope()
    for node in (*free, *nodes):
        if not node.common:
            _SCOPES.setdefault(node, found)
    return found


def make_block(
    leaves: Sequence[Leaf], outputs: Sequence[Node], name: str = "", names: Sequence[str] = ()
) -> Block:
    """The closed graph; equal graphs are one object (names are those of the first)."""
    key = (Block, tuple(leaves), tuple(outputs))
    found = NODES.get(key)
    if found is None:
        found = Block()
        found.leaves, found.outputs = tuple(leaves), tuple(outputs)
        found.digest = digest(
            b"block", *(n.digest for n in leaves), b"->", *(n.digest for n in outputs)
        )
        found.name, found.names = name, tuple(names) or ("",) * len(leaves)
        NODES[key] = found
    return found


def make_scan(
    block: Block, length: Ix, reverse: bool, ncarry: int, nslice: int, arguments: Sequence[Node]
) -> Scan:
    """The recurrence; ``arguments`` are carries, slices, constants by position."""
    key = (Scan, block, length, reverse, ncarry, nslice, tuple(arguments))
    found = NODES.get(key)
    if found is None:
        found = Scan()
        found.block, found.length, found.reverse = block, length, reverse
        found.ncarry, found.nslice, found._all = ncarry, nslice, tuple(arguments)
        found.dims, found.dtype = (), "float"
        found.common = all(n.common for n in arguments)
        found.digest = digest(
            b"scan", block.digest, length.digest, f"{reverse} {ncarry} {nslice}".encode(),
            *(n.digest for n in arguments),
        )  # fmt: skip
        NODES[key] = found
    return found


def make_region(block: Block, arguments: Sequence[Node]) -> Region:
    """A call of the block."""
    key = (Region, block, tuple(arguments))
    found = NODES.get(key)
    if found is None:
        found = Region()
        found.block, found._all = block, tuple(arguments)
        found.dims, found.dtype = (), "float"
        found.common = all(n.common for n in arguments)
        found.digest = digest(b"region", block.digest, *(n.digest for n in arguments))
        NODES[key] = found
    return found


def make_opaque(
    atom: Atom, arguments: Sequence[Node], attributes: Mapping[str, str | int | float] | None = None
) -> Opaque:
    """An opaque operation on the arguments."""
    extra = tuple(sorted((attributes or {}).items()))
    key = (Opaque, atom.name, extra, tuple(arguments))
    found = NODES.get(key)
    if found is None:
        found = Opaque()
        found.atom, found.attributes, found._all = atom, extra, tuple(arguments)
        found.results = tuple(atom.shape(*(n.dims for n in arguments), **dict(extra)))
        found.dims, found.dtype = (), "float"
        found.common = all(n.common for n in arguments)
        found.digest = digest(
            b"opaque", atom.name.encode(), repr(extra).encode(), *(n.digest for n in arguments)
        )
        NODES[key] = found
    return found


def make_output(of: Scan | Region | Opaque, n: int) -> Node:
    """Result n of a node with several."""
    key = (Output, of, n)
    found = NODES.get(key)
    if found is None:
        found = Output()
        found.of, found.n = of, n
        if isinstance(of, Opaque):
            found.dims, found.dtype = of.results[n]
        else:
            inner = of.block.outputs[n]
            stacked = isinstance(of, Scan) and n >= of.ncarry
            found.dims = (of.length, *inner.dims) if stacked else inner.dims  # type: ignore[union-attr]
            found.dtype = inner.dtype
        found.common = of.common
        found.digest = digest(b"output", of.digest, str(n).encode())
        NODES[key] = found
    return found


def outputs_of(node: Scan | Region | Opaque) -> tuple[Node, ...]:
    """All results of a node with several."""
    count = len(node.results) if isinstance(node, Opaque) else len(node.block.outputs)
    return tuple(make_output(node, n) for n in range(count))


# --- bounds ------------------- -----------------------------------------------------------


def _limits(dtype: str) -> tuple[int, int]:
    if dtype == "bool":
        return 0, 1
    half = 1 << (31 if dtype == "int32" else 63)
    return -half, half - 1


def _integer_bounds(node: Node) -> tuple[Ix, Ix]:
    """Bounds of an integer node from its body when that is a plain index or a bool."""
    low, high = _limits(node.dtype)
    if isinstance(node, Reduce):
        from symprop.ranges import integer_bounds

        found = integer_bounds(node)
        if found is not None:
            return found
    return constant(low), constant(high)
