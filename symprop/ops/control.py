"""scan, region, update, stop_gradient: recurrence, repetition, state, and where gradients end.

In: Python functions of expressions. Out: expressions. Guarantees: the function is called once, on
symbolic values; what it reads from outside becomes an operand (values that do not depend on its
arguments are computed once, outside); equal blocks are one object whatever their leaves are
called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from codegen.index import Ix, nonneg
from symprop import graph, walk
from symprop import term as t
from symprop.errors import DeclarationError, ShapeError, quoted
from symprop.expression import (
    Expr,
    as_expr,
    describe,
    finish,
    pointwise,
    shape_text,
)
from symprop.graph import (
    Atom,
    Block,
    Leaf,
    Node,
    Reduce,
    Scope,
    join_scope,
    local_like,
    make_block,
)
from symprop.shapes import check_name, parse_dims
from symprop.walk import as_read, topological

__all__ = ["STOP", "UPDATE", "region", "scan", "stop_gradient", "update"]

STOP = t.Function("stop_gradient", 1, None, kind="same", cost=0)
UPDATE = Atom(
    "update",
    shape=lambda value, state, new: [(value, "float")],
    vjp=lambda node, cotangents: [cotangents[0], None, None],
    jvp=lambda node, tangents: [tangents[0]],
    oracle=lambda value, state, new: (value,),
)


def stop_gradient(x: Any) -> Expr:
    """The same value, constant for every derivative."""
    return pointwise("stop_gradient", lambda a: t.call(STOP, a), as_expr(x))


def update(value: Any, state: Expr, new: Any) -> Expr:
    """``value``, marked so that ``state`` becomes ``new`` when a compiled step runs.

    Updates are simultaneous: every read in the step, the new values' included, sees the old state.
    """
    value, new = as_expr(value), as_expr(new)
    if not isinstance(state, Expr) or not isinstance(state.node, Leaf):
        raise DeclarationError(
            "update needs a state declared with prop.state as its second operand"
        )
    if state.node.kind not in ("state", "parameter"):
        raise DeclarationError(f"{describe(state)} is an {state.node.kind}, which no step can "
                               "change: declare it with prop.state")  # fmt: skip
    if new.node.dims != state.node.dims:
        raise ShapeError(f"the new value of {describe(state)} has shape {shape_text(new)}, "
                         f"expected {shape_text(state)}")  # fmt: skip
    marked = graph.make_opaque(UPDATE, [value.node, state.node, new.node])
    return finish(graph.make_output(marked, 0), "update", [value, state, new])


def _close(
    inner: Sequence[Leaf],
    outputs: Sequence[Node],
    name: str,
    prefix: str,
    titles: Sequence[str],
    scope: Scope,
) -> tuple[Block, list[Node]]:
    """The block over positional leaves, and the outside values it reads (hoisted, in order)."""
    depends: set[Node] = set(inner)
    captured: dict[Node, None] = {}
    order = topological(outputs)
    for node in order:
        if any(o in depends for o in node.operands):
            depends.add(node)
    for node in order:
        if node in depends:
            for o in node.operands:
                if o not in depends:
                    captured.update(dict.fromkeys(_handed_in(o)))
    for out in outputs:
        if out not in depends:
            captured.update(dict.fromkeys(_handed_in(out)))
    captured = dict.fromkeys(as_read(outputs, captured, depends))
    mapping: dict[Node, Node] = {}
    for k, node in enumerate((*inner, *captured)):
        mapping[node] = local_like(k, node, scope=scope)
    names = [*titles, *(_local_name(graph.hint(c), prefix) for c in captured)]
    for node in order:
        if node in depends and not isinstance(node, Leaf):
            own = graph.hint(node)
            if own:
                graph.rename(node, _local_name(own, prefix))
    closed = walk.substitute(outputs, mapping)
    leaves = [mapping[n] for n in (*inner, *captured)]
    return make_block(leaves, closed, name, names), list(captured)  # type: ignore[arg-type]


def _handed_in(node: Node) -> list[Node]:
    """What a block is handed for an outside value: itself; for a mere view, what that reads."""
    if isinstance(node, Leaf):
        return [node]
    free = isinstance(node, Reduce) and len(node.loops) == node.nout and not node.guards
    if free and t.operations(node.body) == 0:  # type: ignore[attr-defined]
        return [found for o in node.operands for found in _handed_in(o)]
    return [node] if node.operands else []


def _local_name(name: str, prefix: str) -> str:
    return name[len(prefix) + 1 :] if prefix and name.startswith(prefix + ".") else name


def _temporary(
    position: int, like: Node, scope: Scope, drop: int = 0, bounded: bool = True
) -> Leaf:
    known = bounded and like.dtype in (*graph.INTS, "bool")
    low, high = (like.low, like.high) if known else (None, None)
    found = graph.new_leaf(
        "local", f"%{position}", like.dims[drop:], like.dtype, low=low, high=high
    )
    found.scope = scope
    return found


def scan(
    step: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: Any = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """carry, y = step(carry, x) along the leading axis of ``xs``; (final carry, stacked y).

    Args:
        step: takes a carry (an expression or a tuple of some) and one slice of each of ``xs``,
            and returns the next carry, of the same shapes, and a value to stack (or None).
        init: the first carry.
        xs: an expression or a tuple with equal leading sizes; or None with ``length``.
        reverse: from the last slice to the first.

    Raises:
        ShapeError: when the carry changes shape or the leading sizes differ.
    """
    one_carry, one_slice = not isinstance(init, tuple), not isinstance(xs, tuple)
    carries = [as_expr(c) for c in ((init,) if one_carry else init)]
    slices = [] if xs is None else [as_expr(x) for x in ((xs,) if one_slice else xs)]
    extent = _length(slices, length)
    scope = join_scope([e.node for e in (*carries, *slices)])
    turn = _Turn(step, carries, slices, one_carry, xs is not None, one_slice, scope)
    inner, nexts, ys, one_y = turn.settled()
    titles = [e.name or f"carry{k}" for k, e in enumerate(carries)]
    titles += [e.name or f"slice{k}" for k, e in enumerate(slices)]
    block, captured = _close(inner, [e.node for e in (*nexts, *ys)], "scan", "", titles, scope)
    arguments = [e.node for e in (*carries, *slices)] + captured
    node = graph.make_scan(block, extent, reverse, len(carries), len(slices), arguments)
    outs = [finish(o, "scan", [*carries, *slices]) for o in graph.outputs_of(node)]
    final: Any = outs[0] if one_carry else tuple(outs[: len(carries)])
    stacked: Any = tuple(outs[len(carries) :])
    return final, (None if not ys else stacked[0] if one_y else stacked)


@dataclass(frozen=True)
class _Turn:
    """One turn of a scan, as the user's function writes it."""

    step: Callable[[Any, Any], tuple[Any, Any]]
    carries: list[Expr]
    slices: list[Expr]
    one_carry: bool
    sliced: bool
    one_slice: bool
    scope: Scope

    def settled(self) -> tuple[list[Leaf], list[Expr], list[Expr], bool]:
        """The leaves of a turn, the next carries, what is stacked, whether that is one value.

        A whole number that is carried has the bounds of its start while its next value stays
        within them; a counter does not, so the turn is written again without bounds for it.
        """
        loose: frozenset[int] = frozenset()
        while True:
            inner, nexts, ys, one_y = self.written(loose)
            left = {k for k, n in enumerate(nexts) if not _stays(inner[k], n.node)}
            if left <= loose:
                return inner, nexts, ys, one_y
            loose |= left

    def written(self, loose: frozenset[int]) -> tuple[list[Leaf], list[Expr], list[Expr], bool]:
        count = len(self.carries)
        inner = [
            _temporary(k, c.node, self.scope, bounded=k not in loose)
            for k, c in enumerate(self.carries)
        ]
        inner += [_temporary(count + k, s.node, self.scope, 1) for k, s in enumerate(self.slices)]
        given = [Expr(leaf) for leaf in inner]
        carry: Any = given[0] if self.one_carry else tuple(given[:count])
        piece: Any = tuple(given[count:])
        piece = None if not self.sliced else piece[0] if self.one_slice else piece
        result = self.step(carry, piece)
        if not isinstance(result, tuple) or len(result) != 2:
            raise DeclarationError(
                "the step of a scan must return (next carry, value to stack or None)"
            )
        nexts = [as_expr(c) for c in ((result[0],) if self.one_carry else result[0])]
        _check_carries(self.carries, nexts)
        one_y = not isinstance(result[1], tuple)
        stacked = (result[1],) if one_y else result[1]
        ys = [] if result[1] is None else [as_expr(y) for y in stacked]
        cast = [n if n.dtype == c.dtype else n.astype(c.dtype)
                for n, c in zip(nexts, self.carries, strict=True)]  # fmt: skip
        return inner, cast, ys, one_y


def _stays(carry: Leaf, following: Node) -> bool:
    """Whether the next value of a carry is known to be within the bounds of the carry."""
    if carry.dtype not in graph.INTS:
        return True
    return nonneg(following.low - carry.low) and nonneg(carry.high - following.high)


def _length(slices: Sequence[Expr], length: Any) -> Ix:
    for s in slices:
        if s.ndim == 0:
            raise ShapeError(f"scan runs along the leading axis, but {describe(s)} has none")
    sizes = [s.node.dims[0] for s in slices]
    if length is not None:
        sizes.append(parse_dims(length, "the length of a scan")[0][0])
    if not sizes:
        raise DeclarationError("scan needs xs or a length")
    for s, d in zip(slices, sizes, strict=False):
        if d is not sizes[0]:
            raise ShapeError(f"scan needs equal leading sizes, got {sizes[0]!r} from "
                             f"{describe(slices[0])} and {d!r} from {describe(s)}")  # fmt: skip
    return sizes[0]


def _check_carries(carries: Sequence[Expr], nexts: Sequence[Expr]) -> None:
    if len(carries) != len(nexts):
        raise ShapeError(
            f"the step of a scan returns {len(nexts)} carries, expected {len(carries)}"
        )
    for c, n in zip(carries, nexts, strict=True):
        if c.node.dims != n.node.dims:
            raise ShapeError(
                f"the step of a scan turns the carry {describe(c)} of shape {shape_text(c)} into "
                f"{shape_text(n)}: it must keep its shape"
            )


def _parameter_names(fn: Callable[..., Any], count: int) -> list[str]:
    """The names that a function gives to its arguments, or numbered ones."""
    code = getattr(fn, "__code__", None)
    names = [] if code is None else list(code.co_varnames[: code.co_argcount])
    names = [n for n in names if n != "self"]
    if len(names) == count and all(n.isascii() for n in names):
        return names
    return [f"input{k}" if count > 1 else "input" for k in range(count)]


def region(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A repeated part of a network: ``region("block0")(function)(x)``.

    The function's graph becomes a block; all regions with equal blocks (up to their leaves) are
    differentiated, simplified and emitted once, and called with their own parameters.
    """
    check_name(name, "a region")

    def wrap(fn: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any) -> Any:
            exprs = [as_expr(a) for a in args]
            scope = join_scope([e.node for e in exprs])
            inner = [_temporary(k, e.node, scope) for k, e in enumerate(exprs)]
            result = fn(*(Expr(leaf) for leaf in inner))
            outs = [as_expr(r) for r in (result if isinstance(result, tuple) else (result,))]
            if not outs:
                raise DeclarationError(f"the region {quoted(name)} returned nothing")
            title = name.rstrip("0123456789_.") or name
            titles = _parameter_names(fn, len(exprs))
            block, captured = _close(inner, [e.node for e in outs], title, name, titles, scope)
            node = graph.make_region(block, [*(e.node for e in exprs), *captured])
            found = [finish(o, "region", exprs) for o in graph.outputs_of(node)]
            for k, e in enumerate(found):
                graph.rename(e.node, name if len(found) == 1 else f"{name}.{k}")
            return tuple(found) if isinstance(result, tuple) else found[0]

        return called

    return wrap
